"""Key files of TSIG in all the forms in which tools write them, and damaged ones."""

import base64

import pytest

from volly_fed.config.model import TsigAlgorithm
from volly_fed.daemon.upkeep.tsig import parse_tsig_key
from volly_fed.errors import LocalError

SECRET = base64.b64encode(b"0123456789abcdef").decode()
OTHER = base64.b64encode(b"fedcba9876543210").decode()
BIND = f'key "volly.test" {{\n\talgorithm hmac-sha512;\n\tsecret "{SECRET}";\n}};\n'
KEYMGR = (
    f"# hmac-sha512:volly.test:{SECRET}\nkey:\n  - id: volly.test\n    algorithm: hmac-sha512\n    secret: {SECRET}\n"
)


def parse(
    text: str, name: str | None = None, algorithm: TsigAlgorithm = TsigAlgorithm.SHA256
) -> tuple[str, str, bytes]:
    key = parse_tsig_key(text, "x.key", name=name, algorithm=algorithm)
    return key.name.to_text(), key.algorithm.to_text(), key.secret


@pytest.mark.parametrize(
    "text",
    [
        BIND,
        BIND.replace('"', ""),
        BIND.replace("\n", " "),
        KEYMGR,
        f"# a comment\nvolly.test:hmac-sha512:{SECRET}\n",
        f"hmac-sha512:volly.test:{SECRET}",
        f"volly.test.:HMAC-SHA512:{SECRET}",
        BIND.replace("volly", "other").replace(SECRET, OTHER) + BIND,
    ],
)
def test_every_form_gives_the_same_key(text: str) -> None:
    assert parse(text, "Volly.test.") == ("volly.test.", "hmac-sha512.", b"0123456789abcdef")


def test_base64_alone_takes_name_and_algorithm_from_the_configuration() -> None:
    assert parse(SECRET, "v.test", TsigAlgorithm.SHA384) == ("v.test.", "hmac-sha384.", b"0123456789abcdef")


@pytest.mark.parametrize(
    ("text", "name", "says"),
    [
        ("", None, "holds no key"),
        (SECRET, None, "holds no key"),
        (BIND, "other.test", "holds volly.test\nnote: say in dns_update.tsig_name"),
        (BIND + BIND.replace("volly", "other"), None, "holds volly.test, other.test\nnote: say"),
        (BIND.replace("sha512", "md5"), None, "'hmac-md5' is not one of"),
        (BIND.replace("hmac-sha512", "hmac-sha1"), None, "'hmac-sha1' is not one of"),
        (BIND.replace(SECRET, "AAAA"), None, "not base64 of at least 16 bytes"),
        (BIND.replace(SECRET, SECRET[:-1]), None, "not base64 of at least 16 bytes"),
        (f"a..b:hmac-sha256:{SECRET}", None, "not a domain name"),
        (BIND.replace("algorithm", "algorithmus"), None, "holds no key"),
    ],
)
def test_what_is_wrong_is_said_without_the_secret(text: str, name: str | None, says: str) -> None:
    with pytest.raises(LocalError, match=says) as caught:
        parse(text, name)
    assert SECRET[:8] not in str(caught.value)
    assert "\nnote: " in str(caught.value)
