"""Writes spec/vectors/handshake: python -m tests.handshake.make_vectors. A test compares what is there."""

import json

from tests.handshake.make_claims import claims_file
from tests.handshake.make_continuity import continuity_file
from tests.handshake.make_machine import machine_file
from tests.handshake.make_messages import FOLDER, message_file

FILES = {"messages": message_file, "machine": machine_file, "continuity": continuity_file, "claims": claims_file}


if __name__ == "__main__":
    for name, make in FILES.items():
        (FOLDER / f"{name}.json").write_text(json.dumps(make(), indent=1, ensure_ascii=False) + "\n")
