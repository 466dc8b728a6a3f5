"""Fetching what a stranger's URL points at, without becoming the stranger's way into this network (SSRF).

One guard for the whole project. A name is resolved once for each request of a chain of redirects, every address it
has must be a public one, and the connection goes to those addresses and no others: so a name that answers
differently a second time (DNS rebinding) gains nothing.
"""

import asyncio
import ipaddress
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Network

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from routing.addresses import MAPPED, Address, Network, last_four, network_of, unmapped
from routing.backends.gunzip import Damaged, TooMuch, gunzip

Resolve = Callable[[str], Awaitable[Iterable[str]]]

USER_AGENT = "moe-ollama-endpoint"
REDIRECTS = (301, 302, 303, 307, 308)
LONGEST_HEADER = 255  # of those that are kept, and
LONGEST_DATE = 64


class FetchFailed(Exception):
    """What a URL points at could not be had; the message is fit for a client.

    It never tells a name that does not exist from one that is not public: that would be a map of this network.
    ``code`` is for programs: invalid_url, unsupported_scheme, not_public, unreachable, timed_out, too_large,
    too_many_redirects, compressed, or the status of the answer as http_404.
    """

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Of one fetch, redirects included: ``seconds`` in all, ``size`` in bytes."""

    size: int = 20 * 1024 * 1024
    seconds: float = 10.0
    redirects: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """``url`` is where it was in the end; the rest is what the server says of it ("" when it does not)."""

    content: bytes
    media_type: str
    url: str
    charset: str = ""
    etag: str = ""
    last_modified: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Redirected:
    """What was asked for is at ``url``, which has not been checked."""

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
ISATAP = (0x00005EFE, 0x02005EFE)


def is_public(address: Address) -> bool:
    """Tell whether ``address`` is one of the open internet, and so is any that is embedded in it."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in NOT_PUBLIC_V4)
    if address in NAT64 or address in MAPPED:
        return is_public(last_four(address))
    if address not in GLOBAL_UNICAST or any(address in network for network in NOT_PUBLIC_V6):
        return False
    return (int(address) >> 32) & 0xFFFFFFFF not in ISATAP or is_public(last_four(address))


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """Hosts that may be anywhere: ``names`` as URLs have them, ``networks`` by address."""

    names: frozenset[str] = frozenset()
    networks: tuple[Network, ...] = ()

    @classmethod
    def parse(cls, entries: Iterable[str]) -> "Allowed":
        """Read host names, addresses and networks (FETCH_ALLOWED_HOSTS)."""
        names, networks = set(), []
        for entry in filter(None, (entry.strip() for entry in entries)):
            try:
                networks.append(network_of(entry.strip("[]")))
            except ValueError:
                names.add(entry.lower().rstrip("."))
        return cls(names=frozenset(names), networks=tuple(networks))

    def permits(self, host: str, address: Address) -> bool:
        # A mapped address (::ffff:10.0.0.1) is reached as the IPv4 address it holds.
        real = unmapped(address)
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

    def __init__(
        self,
        allowed: Allowed,
        *,
        limits: Limits | None = None,
        resolve: Resolve = resolve,
        user_agent: str = USER_AGENT,
    ) -> None:
        self._allowed = allowed
        self._limits = limits or Limits()
        self._resolve = resolve
        self._user_agent = user_agent

    async def fetch(self, url: str, *, size: int | None = None, cut: bool = False) -> Fetched:
        """Return what ``url`` points at, of at most ``size`` bytes if that is less than the limit.

        What is larger is refused, or cut off there with ``cut``. Raises FetchFailed.
        """
        async with self._bounded():
            for _ in range(1 + self._limits.redirects):
                async with self._get(checked_url(url)) as response:
                    found = _redirected(response) or await _content(response, size=self._size(size), cut=cut)
                if isinstance(found, Fetched):
                    return found
                url = found.url
        raise FetchFailed(f"it was redirected more than {self._limits.redirects} times", code="too_many_redirects")

    async def step(
        self, url: str, *, size: int | None = None, etag: str = "", last_modified: str = ""
    ) -> Fetched | Redirected | None:
        """Ask for ``url`` and follow no redirect; for those who look at every address themselves.

        None means that it is as it was when its server called it ``etag`` and ``last_modified``. Raises FetchFailed.
        """
        known = {"If-None-Match": etag, "If-Modified-Since": last_modified}
        headers = {name: value for name, value in known.items() if value}
        async with self._bounded(), self._get(checked_url(url), headers) as response:
            if headers and response.status == 304:
                return None
            return _redirected(response) or await _content(response, size=self._size(size))

    def _size(self, size: int | None) -> int:
        return self._limits.size if size is None else min(size, self._limits.size)

    @asynccontextmanager
    async def _bounded(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._limits.seconds):
                yield
        except TimeoutError as error:
            raise FetchFailed(f"it did not arrive within {self._limits.seconds:g} seconds", code="timed_out") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise FetchFailed("its server cannot be reached, or broke off its answer", code="unreachable") from error

    @asynccontextmanager
    async def _get(self, url: URL, headers: Mapping[str, str] | None = None) -> AsyncIterator[aiohttp.ClientResponse]:
        addresses = await checked_addresses(url.raw_host or "", allowed=self._allowed, resolve=self._resolve)
        connector = aiohttp.TCPConnector(resolver=_Pinned(addresses), use_dns_cache=False, force_close=True)
        async with (
            aiohttp.ClientSession(
                connector=connector,
                trust_env=False,  # a proxy would resolve the name again, and elsewhere
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                headers={"User-Agent": self._user_agent, "Accept-Encoding": "identity"},
            ) as session,
            session.get(url, allow_redirects=False, headers=headers) as response,
        ):
            yield response


async def checked_addresses(host: str, *, allowed: Allowed, resolve: Resolve = resolve) -> list[Address]:
    """Return the addresses of ``host``, all of which may be connected to; raises FetchFailed."""
    try:
        # A number such as 2130706433 or 0x7f.1 is no address here; the system's resolver reads it as one, and
        # what it makes of it is checked like any other.
        addresses = [ipaddress.ip_address(host)]
    except ValueError:
        try:
            addresses = [ipaddress.ip_address(text) for text in await resolve(host)]
        except (OSError, ValueError):
            addresses = []
    if not addresses or not all(allowed.permits(host, address) for address in addresses):
        raise FetchFailed(
            "its host is unknown or not on the public internet (an administrator can allow it with "
            "FETCH_ALLOWED_HOSTS)",
            code="not_public",
        )
    return addresses


def checked_url(url: str) -> URL:
    """Return ``url`` parsed, if it is of the kind that is fetched; raises FetchFailed."""
    try:
        parsed = URL(url)
        host, _ = parsed.host, parsed.port
    except ValueError as error:
        raise FetchFailed("it is no valid URL", code="invalid_url") from error
    if parsed.scheme not in ("http", "https") or not (host or "").strip("."):
        raise FetchFailed("only http and https URLs can be fetched", code="unsupported_scheme")
    if parsed.user is not None or parsed.password is not None:
        raise FetchFailed("a URL with a user name or password is not fetched", code="invalid_url")
    return parsed


def _redirected(response: aiohttp.ClientResponse) -> Redirected | None:
    if response.status not in REDIRECTS or "Location" not in response.headers:
        return None
    return Redirected(url=str(response.url.join(URL(response.headers["Location"]))))


async def _content(response: aiohttp.ClientResponse, *, size: int, cut: bool = False) -> Fetched:
    if response.status != 200:
        raise FetchFailed(f"its server answered with status {response.status}", code=f"http_{response.status}")
    encoding = response.headers.get("Content-Encoding", "identity").lower()
    if encoding not in ("identity", "gzip", "x-gzip"):
        raise FetchFailed("its server sends it compressed, though asked not to", code="compressed")
    content = await _read(response, size=size, cut=cut)
    if encoding != "identity":
        content = await _unpacked(content, size)
    return Fetched(
        content=content,
        media_type=_said(response, "Content-Type").partition(";")[0].strip().lower(),
        url=str(response.url),
        charset=(response.charset or "").lower() if _said(response, "Content-Type") else "",
        etag=_said(response, "ETag"),
        last_modified=_said(response, "Last-Modified", longest=LONGEST_DATE),
    )


async def _read(response: aiohttp.ClientResponse, *, size: int, cut: bool) -> bytes:
    too_large = FetchFailed(f"it is larger than {size:,} bytes", code="too_large")
    if (response.content_length or 0) > size and not cut:
        raise too_large
    content = bytearray()
    async for piece in response.content.iter_chunked(64 * 1024):
        content += piece
        if len(content) > size:
            if cut:
                break
            raise too_large
    return bytes(content[:size])


async def _unpacked(content: bytes, size: int) -> bytes:
    # Sites that keep files compressed send them so to everyone.
    try:
        return await asyncio.to_thread(gunzip, content, most=size)
    except TooMuch as error:
        raise FetchFailed(f"it is larger than {size:,} bytes", code="too_large") from error
    except Damaged as error:
        raise FetchFailed("its server sends it compressed, and damaged", code="compressed") from error


def _said(response: aiohttp.ClientResponse, header: str, *, longest: int = LONGEST_HEADER) -> str:
    """Return a header that can be kept in a row and sent back, or "" (headers may hold any byte, at any length)."""
    value = response.headers.get(header, "").strip()
    return value if len(value) <= longest and value.isascii() and value.isprintable() else ""


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
