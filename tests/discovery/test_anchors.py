import dns.name
import pytest

from volly_fed.discovery.anchors import IANA_ROOT, read_anchors
from volly_fed.errors import ConfigError


def test_both_root_keys_are_built_in() -> None:
    anchors = read_anchors(IANA_ROOT)
    assert {ds.key_tag for ds in anchors[dns.name.root]} == {20326, 38696}


def test_comments_ttls_and_other_zones_are_read() -> None:
    text = "; a comment\ntest. 3600 IN DS 1 13 2 " + "00" * 32 + " ; tail\n"
    assert list(read_anchors(text)) == [dns.name.from_text("test")]


@pytest.mark.parametrize(
    "text",
    ["", "; nothing", ". IN DS", ". IN DS 1 13 2 0011", ". IN A 192.0.2.1", ". IN DS 1 253 2 " + "00" * 32, "\0"],
)
def test_unusable_text_is_a_config_error_naming_its_source(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_anchors(text, "anchors.txt")
    assert caught.value.problems[0].startswith("anchors.txt: ")
    assert "note:" in caught.value.problems[0]
