"""Fetching what a client's URL points at, without becoming the client's way into this network (SSRF).

One guard for the whole project. A name is resolved once for each request of a chain of redirects, every address it
has must be a public one, and the connection goes to those addresses and no others: so a name that answers
differently a second time (DNS rebinding) gains nothing.
"""

import asyncio
import ipaddress
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

Address = IPv4Address | IPv6Address
Resolve = Callable[[str], Awaitable[Iterable[str]]]

USER_AGENT = "moe-ollama-endpoint"
REDIRECTS = (301, 302, 303, 307, 308)


class FetchFailed(Exception):
    """What a URL points at could not be had; the message is fit for a client.

    It never tells a name that does not exist from one that is not public: that would be a map of this network.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Of one fetch, redirects included: ``seconds`` in all, ``size`` in bytes."""

    size: int = 20 * 1024 * 1024
    seconds: float = 10.0
    redirects: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """``url`` is where it was in the end, ``media_type`` what the server calls it ("" when it does not)."""

    content: bytes
    media_type: str
    url: str


# --- which addresses are public. Pure. -----------------------------------------------------------------------

# IANA's special-purpose registries; written out, because Python's own list differs from release to release.
NOT_PUBLIC_V4 = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT
        "127.0.0.0/8",
        "168.63.129.16/32",  # Azure's own services, as seen from inside
        "169.254.0.0/16",  # link-local; the metadata of most clouds
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",
    )
)
GLOBAL_UNICAST = IPv6Network("2000::/3")  # nothing else is routed
NOT_PUBLIC_V6 = tuple(
    IPv6Network(network)
    for network in (
        "2001::/23",  # IETF protocols, Teredo among them, which carries an IPv4 address
        "2001:db8::/32",
        "2002::/16",  # 6to4, which carries one too
        "3fff::/20",
    )
)
NAT64 = IPv6Network("64:ff9b::/96")
MAPPED = IPv6Network("::ffff:0:0/96")
ISATAP = (0x00005EFE, 0x02005EFE)


def is_public(address: Address) -> bool:
    """Tell whether ``address`` is one of the open internet, and so is any that is embedded in it."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in NOT_PUBLIC_V4)
    if address in NAT64 or address in MAPPED:
        return is_public(_last_four(address))
    if address not in GLOBAL_UNICAST or any(address in network for network in NOT_PUBLIC_V6):
        return False
    return (int(address) >> 32) & 0xFFFFFFFF not in ISATAP or is_public(_last_four(address))


def _last_four(address: IPv6Address) -> IPv4Address:
    return IPv4Address(int(address) & 0xFFFFFFFF)


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """Hosts that may be anywhere: ``names`` as URLs have them, ``networks`` by address."""

    names: frozenset[str] = frozenset()
    networks: tuple[IPv4Network | IPv6Network, ...] = ()

    @classmethod
    def parse(cls, entries: Iterable[str]) -> "Allowed":
        """Read host names, addresses and networks (FETCH_ALLOWED_HOSTS)."""
        names, networks = set(), []
        for entry in filter(None, (entry.strip() for entry in entries)):
            try:
                networks.append(ipaddress.ip_network(entry.strip("[]"), strict=False))
            except ValueError:
                names.add(entry.lower().rstrip("."))
        return cls(names=frozenset(names), networks=tuple(networks))

    def permits(self, host: str, address: Address) -> bool:
        # A mapped address (::ffff:10.0.0.1) is reached as the IPv4 address it holds.
        real = _last_four(address) if isinstance(address, IPv6Address) and address in MAPPED else address
        return (
            host.lower().rstrip(".") in self.names
            or any(real in network for network in self.networks)
            or is_public(address)
        )


# --- fetching ------------------------------------------------------------------------------------------------


async def resolve(host: str) -> Iterable[str]:
    """Return every address of ``host``, as the system resolves it; raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return dict.fromkeys(str(entry[4][0]) for entry in found)


class Fetcher:
    """Fetches URLs of the open internet, and of the hosts ``allowed``."""

    def __init__(self, allowed: Allowed, *, limits: Limits | None = None, resolve: Resolve = resolve) -> None:
        self._allowed = allowed
        self._limits = limits or Limits()
        self._resolve = resolve

    async def fetch(self, url: str, *, size: int | None = None) -> Fetched:
        """Return what ``url`` points at, of at most ``size`` bytes if that is less than the limit.

        Raises FetchFailed.
        """
        size = self._limits.size if size is None else min(size, self._limits.size)
        try:
            async with asyncio.timeout(self._limits.seconds):
                return await self._follow(_parsed(url), size)
        except TimeoutError as error:
            raise FetchFailed(f"it did not arrive within {self._limits.seconds:g} seconds") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise FetchFailed("its server cannot be reached, or broke off its answer") from error

    async def _follow(self, url: URL, size: int) -> Fetched:
        for _ in range(1 + self._limits.redirects):
            async with self._get(url) as response:
                if response.status not in REDIRECTS or "Location" not in response.headers:
                    return await _content(response, url, size)
                url = _parsed(str(url.join(URL(response.headers["Location"]))))
        raise FetchFailed(f"it was redirected more than {self._limits.redirects} times")

    @asynccontextmanager
    async def _get(self, url: URL) -> AsyncIterator[aiohttp.ClientResponse]:
        addresses = await self._checked_addresses(url.raw_host or "")
        connector = aiohttp.TCPConnector(resolver=_Pinned(addresses), use_dns_cache=False, force_close=True)
        async with (
            aiohttp.ClientSession(
                connector=connector,
                trust_env=False,  # a proxy would resolve the name again, and elsewhere
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity"},
            ) as session,
            session.get(url, allow_redirects=False) as response,
        ):
            yield response

    async def _checked_addresses(self, host: str) -> list[Address]:
        try:
            # A number such as 2130706433 or 0x7f.1 is no address here; the system's resolver reads it as one, and
            # what it makes of it is checked like any other.
            addresses = [ipaddress.ip_address(host)]
        except ValueError:
            try:
                addresses = [ipaddress.ip_address(text) for text in await self._resolve(host)]
            except (OSError, ValueError):
                addresses = []
        if not addresses or not all(self._allowed.permits(host, address) for address in addresses):
            raise FetchFailed(
                "its host is unknown or not on the public internet (an administrator can allow it with "
                "FETCH_ALLOWED_HOSTS)"
            )
        return addresses


async def _content(response: aiohttp.ClientResponse, url: URL, size: int) -> Fetched:
    if response.status != 200:
        raise FetchFailed(f"its server answered with status {response.status}")
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise FetchFailed("its server sends it compressed, though asked not to")
    too_large = FetchFailed(f"it is larger than {size:,} bytes")
    if (response.content_length or 0) > size:
        raise too_large
    content = bytearray()
    async for piece in response.content.iter_chunked(64 * 1024):
        content += piece
        if len(content) > size:
            raise too_large
    media_type = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    return Fetched(content=bytes(content), media_type=media_type, url=str(url))


def _parsed(url: str) -> URL:
    try:
        parsed = URL(url)
        host, _ = parsed.host, parsed.port
    except ValueError as error:
        raise FetchFailed("it is no valid URL") from error
    if parsed.scheme not in ("http", "https") or not host:
        raise FetchFailed("only http and https URLs can be fetched")
    if parsed.user is not None or parsed.password is not None:
        raise FetchFailed("a URL with a user name or password is not fetched")
    return parsed


class _Pinned(AbstractResolver):
    """Gives the addresses that were checked, whatever is asked."""

    def __init__(self, addresses: Iterable[Address]) -> None:
        self._addresses = list(addresses)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host,
                host=str(address),
                port=port,
                family=socket.AF_INET if address.version == 4 else socket.AF_INET6,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in self._addresses
        ]

    async def close(self) -> None:
        """There is nothing to close."""
