"""CONTRACT.toml: what can be used, and what is said of the rest."""

import sys
from pathlib import Path

import pytest

from interop.contract import ContractError, read_contract
from interop.run import PEERS

GOOD = 'name = "mine"\nargv = ["./mine", "--site", "{site}"]\n'


def read(tmp_path: Path, text: str) -> object:
    file = tmp_path / "CONTRACT.toml"
    file.write_text(text)
    return read_contract(file)


def test_all_keys(tmp_path: Path) -> None:
    (tmp_path / "CONTRACT.toml").write_text(
        GOOD + 'environment = { LOG = "debug" }\nbuild = ["make"]\nlacks = ["discovery"]\nready_within = 5\n'
    )
    contract = read_contract(tmp_path)  # a folder stands for the file in it
    assert contract.command(Path("/x/site.json")) == ["./mine", "--site", "/x/site.json"]
    assert (contract.name, contract.folder, contract.build) == ("mine", tmp_path.resolve(), ("make",))
    assert (contract.environment, contract.lacks, contract.ready_within) == (
        {"LOG": "debug"},
        frozenset({"discovery"}),
        5.0,
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name =", "CONTRACT.toml: "),
        ('argv = ["{site}"]', "name is missing"),
        ('name = "mine"', "argv is missing"),
        (GOOD + "port = 1", "port: there is no such key"),
        ('name = ""\nargv = ["{site}"]', "name: must be a string"),
        ('name = "mine"\nargv = "{site}"', "argv: must be an array of strings"),
        ('name = "mine"\nargv = ["./mine"]', "argv: must hand over {site}"),
        (GOOD + "environment = { LOG = 1 }", "environment: must be a table of strings"),
        (GOOD + 'build = "make"', "build: must be an array of strings"),
        (GOOD + 'lacks = ["speed"]', "lacks: speed: must be of discovery, presence, rotation"),
        (GOOD + "ready_within = 0", "ready_within: must be seconds"),
        (GOOD + "ready_within = true", "ready_within: must be seconds"),
    ],
)
def test_errors_name_the_key_and_the_next_step(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ContractError) as caught:
        read(tmp_path, text)
    assert said in str(caught.value)
    assert "\nnote: " in str(caught.value)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="cannot be read"):
        read_contract(tmp_path / "nothing.toml")


def test_those_in_this_repository() -> None:
    contracts = {read_contract(path).name: read_contract(path) for path in PEERS.glob("*/CONTRACT.toml")}
    assert contracts["python"].command(Path("s"))[0] == sys.executable
