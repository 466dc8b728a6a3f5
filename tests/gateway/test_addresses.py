"""Where requests come from, behind proxies that are trusted and others."""

import pytest

from gateway.addresses import client_address, networks_of

PROXIES = networks_of(("10.0.0.0/24", "192.168.1.5", "fd00::/8"))


@pytest.mark.parametrize(
    ("peer", "forwarded", "found"),
    [
        ("203.0.113.7", "", "203.0.113.7"),
        ("203.0.113.7", "198.51.100.1", "203.0.113.7"),  # nobody we know says so
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "1.1.1.1, 198.51.100.1", "198.51.100.1"),  # the client's own claim stands left
        ("10.0.0.1", "198.51.100.1, 192.168.1.5, 10.0.0.9", "198.51.100.1"),
        ("10.0.0.1", "198.51.100.1,192.168.1.6", "192.168.1.6"),
        ("10.0.0.1", "10.0.0.2, 10.0.0.3", "10.0.0.2"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "unknown", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1, <script>, 10.0.0.3", "10.0.0.3"),
        ("10.0.0.1", "198.51.100.1, ", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1:4711", "198.51.100.1"),
        ("fd00::1", "[2001:db8::1]:443", "2001:db8::1"),
        ("fd00::1", "2001:DB8::0001", "2001:db8::1"),
        ("::ffff:10.0.0.1", "::ffff:198.51.100.1", "198.51.100.1"),
        ("::ffff:203.0.113.7", "198.51.100.1", "203.0.113.7"),
        ("", "198.51.100.1", ""),
        ("/run/socket", "198.51.100.1", ""),
    ],
)
def test_the_rightmost_address_that_no_trusted_proxy_has_is_the_client(peer, forwarded, found):
    assert client_address(peer, forwarded, PROXIES) == found


@pytest.mark.parametrize("line", ["::ffff:10.0.0.0/104", "::ffff:10.0.0.1", "::ffff:0:0/96"])
def test_a_network_of_ipv4_written_as_one_of_ipv6_is_that_of_ipv4(line):
    for peer in ("10.0.0.1", "::ffff:10.0.0.1"):
        assert client_address(peer, "198.51.100.1", networks_of((line,))) == "198.51.100.1"
    assert client_address("fd00::1", "198.51.100.1", networks_of((line,))) == "fd00::1"


def test_nobody_is_trusted_by_default():
    assert client_address("127.0.0.1", "198.51.100.1", ()) == "127.0.0.1"


def test_a_line_that_cannot_be_read_trusts_nobody_and_is_told(caplog):
    networks_of.cache_clear()
    assert [str(one) for one in networks_of(("10.0.0.0/33", "proxy.lan", "10.1.0.0/16"))] == ["10.1.0.0/16"]
    assert "proxy.lan" in caplog.text
