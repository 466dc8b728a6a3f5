"""Where a request comes from: behind proxies that are trusted, the address that they tell. Pure."""

import logging
from collections.abc import Iterable
from functools import lru_cache

from gateway.policy import network
from routing.addresses import Address, Network, address_of

logger = logging.getLogger(__name__)


@lru_cache(maxsize=4096)
def client_address(peer: str, forwarded: str, proxies: tuple[Network, ...]) -> str:
    """Return the address of the client, "" where none is known, as behind a Unix socket.

    ``peer`` is who is connected, ``forwarded`` the X-Forwarded-For headers, joined by commas. Each proxy adds who spoke
    to it at the end; so they are read from the right, for as long as whoever wrote is within ``proxies``. What stands
    left of that is anybody's claim.
    """
    known = _read(peer)
    if known is None:
        return ""
    for told in reversed(forwarded.split(",")):
        if not _is_within(known, proxies):
            break
        further = _read(told)
        if further is None:
            break
        known = further
    return str(known)


@lru_cache(maxsize=8)
def networks_of(lines: tuple[str, ...]) -> tuple[Network, ...]:
    """Return the addresses and networks of TRUSTED_PROXIES; a line that is neither trusts nobody, and is logged."""
    return tuple(_readable(lines))


def _readable(lines: Iterable[str]) -> Iterable[Network]:
    for line in lines:
        try:
            yield network(line)
        except ValueError as error:
            logger.warning("a line of TRUSTED_PROXIES is passed over error=%s", error)


def _is_within(one: Address, proxies: tuple[Network, ...]) -> bool:
    return any(one in proxy for proxy in proxies)


def _read(text: str) -> Address | None:
    """Return an address, which may have a port: 10.1.2.3:443, [::1]:443."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return address_of(text)
    except ValueError:
        return None
