import pytest

from volly_fed.daemon.dns.libunbound import load_library
from volly_fed.errors import LocalError


def test_a_missing_library_says_what_to_install() -> None:
    with pytest.raises(LocalError, match=r"libunbound is not installed(.|\n)*note: install it .*libunbound8"):
        load_library(["libunbound-that-is-not-there.so.8"])
