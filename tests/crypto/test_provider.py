import pytest

from tests.crypto.fake_oqs import Faults
from volly_fed.crypto import provider as module
from volly_fed.crypto.kem import MailboxKey
from volly_fed.crypto.liboqs import LiboqsDecapsulationKey, LiboqsProvider
from volly_fed.crypto.openssl import OpenSslProvider
from volly_fed.crypto.probe import Unavailable
from volly_fed.crypto.provider import Provider, choose_provider, current, use
from volly_fed.crypto.secret import Secret
from volly_fed.errors import LocalError


def absent(openssl: OpenSslProvider) -> Provider:
    raise Unavailable("no liboqs shared library was found")


def test_openssl_is_the_default() -> None:
    assert current().name == "openssl"
    assert choose_provider("openssl", load=absent).name == "openssl"


def test_auto_without_liboqs_is_openssl_and_says_why() -> None:
    provider = choose_provider("auto", load=absent)
    assert provider.name == "openssl"
    assert "liboqs not used: no liboqs shared library was found" in provider.description


def test_liboqs_without_liboqs_is_refused_with_reason_and_next_step() -> None:
    with pytest.raises(LocalError, match=r"liboqs cannot be used: no liboqs shared library was found; note: install"):
        choose_provider("liboqs", load=absent)


@pytest.mark.parametrize("setting", ["auto", "liboqs"])
def test_a_right_liboqs_is_used(setting: str, fake_liboqs: LiboqsProvider) -> None:
    provider = choose_provider(setting, load=lambda _openssl: fake_liboqs)
    assert provider is fake_liboqs
    assert provider.description.startswith("liboqs 0.16.0 (signing by OpenSSL")


@pytest.mark.parametrize("fault", ["public key", "encapsulation", "decapsulation", "accepts", "refuses", "raises"])
def test_a_wrong_liboqs_is_never_used(fault: str, fake_liboqs: LiboqsProvider) -> None:
    Faults.active = {fault}
    fallback = choose_provider("auto", load=lambda _openssl: fake_liboqs)
    assert fallback.name == "openssl"
    assert "fails its self-test" in fallback.description
    with pytest.raises(LocalError, match=r"fails its self-test.*note:"):
        choose_provider("liboqs", load=lambda _openssl: fake_liboqs)


def test_a_broken_openssl_stops_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "disagreement", lambda _candidate, _reference: "a wrong answer")
    with pytest.raises(LocalError, match=r"OpenSSL fails its self-test: a wrong answer; note:"):
        choose_provider("openssl")


@pytest.mark.parametrize("setting", ["", "OpenSSL", "boringssl"])
def test_unknown_settings_are_refused(setting: str) -> None:
    with pytest.raises(LocalError, match="note: write one of auto, openssl, liboqs"):
        choose_provider(setting)


def test_new_keys_take_the_provider_in_use_and_old_ones_keep_theirs(fake_liboqs: LiboqsProvider) -> None:
    before = MailboxKey.from_seed(Secret(bytes(32)))
    use(fake_liboqs)
    after = MailboxKey.from_seed(Secret(bytes(32)))
    assert current() is fake_liboqs
    assert not isinstance(before._post_quantum, LiboqsDecapsulationKey)
    assert isinstance(after._post_quantum, LiboqsDecapsulationKey)
    assert before.public == after.public
