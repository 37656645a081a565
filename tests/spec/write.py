"""Writes again what is generated in spec/: `python -m tests.spec.write`, which `make reference` does.

in: the documents, the transition tables, ids in code, tests and vectors; out: files of spec/.
"""

from tests.spec import cddl, machines, trace
from tests.spec.documents import document_paths, read_documents


def write_all() -> None:
    for path in document_paths():
        path.write_text(machines.with_tables(path.read_text(encoding="utf-8")), encoding="utf-8")
    machines.FOLDER.mkdir(exist_ok=True)
    for name in machines.MACHINES:
        (machines.FOLDER / f"{name}.mmd").write_text(machines.mermaid(name), encoding="utf-8")
    (machines.FOLDER / "README.md").write_text(machines.readme(), encoding="utf-8")
    documents = read_documents()
    cddl.PATH.write_text(cddl.collect(documents), encoding="utf-8")
    index = trace.INDEX.read_text(encoding="utf-8")
    trace.INDEX.write_text(trace.with_table(index, documents, trace.read_traces()), encoding="utf-8")


if __name__ == "__main__":
    write_all()
