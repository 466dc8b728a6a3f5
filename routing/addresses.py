"""Addresses and networks as operators write them: one of IPv4 in the clothes of IPv6 is one of IPv4."""

import ipaddress
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

MAPPED = IPv6Network("::ffff:0:0/96")
"""IPv4 addresses as sockets of IPv6 tell them."""


def last_four(address: IPv6Address) -> IPv4Address:
    """Return what the last four bytes are as an address of IPv4."""
    return IPv4Address(int(address) & 0xFFFFFFFF)


def unmapped(address: Address) -> Address:
    return last_four(address) if isinstance(address, IPv6Address) and address in MAPPED else address


def address_of(text: str) -> Address:
    """Return an address; raises ValueError."""
    return unmapped(ipaddress.ip_address(text))


def network_of(text: str) -> Network:
    """Return a network, or that of a single address; raises ValueError."""
    found = ipaddress.ip_network(text, strict=False)
    if isinstance(found, IPv6Network) and found.subnet_of(MAPPED):
        return IPv4Network((last_four(found.network_address), found.prefixlen - MAPPED.prefixlen))
    return found
