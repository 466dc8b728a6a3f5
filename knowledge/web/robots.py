"""What sites ask of programs that read them (robots.txt, RFC 9309)."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from weakref import WeakValueDictionary

from protego import Protego

from routing.backends.fetch import Fetched, FetchFailed

MOST_BYTES = 512 * 1024
"""Of a robots.txt; as RFC 9309 has it (2.5), what comes after is not read."""
MOST_WORK = 500_000
"""Lines times lines that name an agent: what a file of a few kilobytes could make hours of parsing from."""
MOST_REMEMBERED = 512
"""Sites."""

# The site itself cannot be had, and its robots.txt was only the first to notice.
OF_THE_SITE = ("unreachable", "timed_out", "not_public")


@dataclass(frozen=True, slots=True, kw_only=True)
class Robots:
    """What a site asks for: nothing without ``rules``; nothing of it may be read while there is a ``refusal``."""

    rules: Protego | None = None
    refusal: str = ""
    code: str = "robots_unavailable"

    @classmethod
    def parse(cls, content: bytes) -> "Robots":
        """Read a robots.txt, whatever it is; a page in its place asks for nothing."""
        text = content.decode("utf-8-sig", errors="replace")
        if len(text.splitlines()) * text.lower().count("agent") > MOST_WORK:
            return cls(refusal="its site's robots.txt is too large to be understood")
        return cls(rules=Protego.parse(text))

    @classmethod
    def missing(cls, error: FetchFailed) -> "Robots":
        """Return what holds when there is no robots.txt to be had: everything if there is none, else nothing.

        A server in trouble may have one that forbids everything (RFC 9309, 2.3.1.4). 429 is trouble too, as
        search engines take it.
        """
        if error.code == "too_many_redirects" or (error.code.startswith("http_4") and error.code != "http_429"):
            return cls()
        code = error.code if error.code in OF_THE_SITE else "robots_unavailable"
        return cls(refusal=f"its site's robots.txt, which is asked first, could not be had: {error}", code=code)

    def check(self, url: str, agent: str) -> None:
        """Raise FetchFailed if ``agent`` may not read ``url``."""
        if self.refusal:
            raise FetchFailed(self.refusal, code=self.code)
        if self.rules is not None and not self.rules.can_fetch(url, agent):
            raise FetchFailed(
                "its site does not want programs to read it (robots.txt); ask its owner, or upload the page as a file",
                code="forbidden_by_robots",
            )

    def delay(self, agent: str) -> float | None:
        """Return the pause in seconds that is asked for between requests."""
        return None if self.rules is None else self.rules.crawl_delay(agent)

    @property
    def sitemaps(self) -> tuple[str, ...]:
        return () if self.rules is None else tuple(dict.fromkeys(self.rules.sitemaps))


class RobotsFiles:
    """The robots.txt of sites, each asked for once and remembered for a while."""

    def __init__(self, fetch: Callable[[str], Awaitable[Fetched]], *, remember: float, retry: float) -> None:
        self._fetch = fetch
        self._remember = remember
        self._retry = retry
        self._known: dict[str, tuple[Robots, float]] = {}  # by origin, with the time until which it holds
        self._asking: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def of(self, origin: str) -> Robots:
        """Return what the site at ``origin`` (https://example.org) asks for."""
        lock = self._asking.setdefault(origin, asyncio.Lock())
        async with lock:
            robots, until = self._known.get(origin, (None, 0.0))
            if robots is None or until <= time.monotonic():
                robots = await self._asked(origin)
                self._keep(origin, robots)
            return robots

    async def _asked(self, origin: str) -> Robots:
        try:
            found = await self._fetch(f"{origin}/robots.txt")
        except FetchFailed as error:
            return Robots.missing(error)
        return await asyncio.to_thread(Robots.parse, found.content)

    def _keep(self, origin: str, robots: Robots) -> None:
        now = time.monotonic()
        self._known.pop(origin, None)
        self._known[origin] = (robots, now + (self._retry if robots.refusal else self._remember))
        while len(self._known) > MOST_REMEMBERED:
            del self._known[next(iter(self._known))]
