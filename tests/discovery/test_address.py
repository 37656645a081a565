import ipaddress

import dns.rdata
import pytest
from dns.rdataclass import IN

from volly_fed import limits
from volly_fed.discovery.address import is_public, sort_addresses


@pytest.mark.spec("discovery-24")
@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1", "127.255.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0", "100.64.0.1",
        "224.0.0.1", "255.255.255.255", "240.0.0.1", "192.0.2.1",
        "::1", "::", "fe80::1", "fc00::1", "fd12::1", "ff02::1", "2001:db8::1",
        "::127.0.0.1", "fec0::1", "64:ff9b:1::1", "3fff::1", "5f00::1", "4000::1", "2001::1",
        "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a00:1", "2002:7f00:1::", "2002:a00:1::1",
    ],
)  # fmt: skip
def test_addresses_that_are_not_global_are_refused(text: str) -> None:
    assert not is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize("text", ["9.9.9.9", "2620:fe::fe", "::ffff:9.9.9.9", "64:ff9b::909:909", "2002:909:909::1"])
def test_global_addresses_are_allowed(text: str) -> None:
    assert is_public(ipaddress.ip_address(text))


def test_v6_comes_first_and_private_ones_are_counted() -> None:
    rdatas = [
        dns.rdata.from_text(IN, "A", "9.9.9.9"),
        dns.rdata.from_text(IN, "A", "127.0.0.1"),
        dns.rdata.from_text(IN, "AAAA", "2620:fe::fe"),
        dns.rdata.from_text(IN, "TXT", "ignored"),
    ]
    assert sort_addresses(rdatas, allow_private=False) == (("2620:fe::fe", "9.9.9.9"), 1)
    assert sort_addresses(rdatas, allow_private=True) == (("2620:fe::fe", "9.9.9.9", "127.0.0.1"), 0)


def test_the_number_of_addresses_is_bounded() -> None:
    rdatas = [dns.rdata.from_text(IN, "A", f"9.9.9.{index}") for index in range(limits.DNS_ADDRESSES + 5)]
    assert len(sort_addresses(rdatas, allow_private=False)[0]) == limits.DNS_ADDRESSES
