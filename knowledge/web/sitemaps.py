"""Going through the sitemaps of a site: an index leads to others, and those may lead anywhere."""

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urljoin

from knowledge.web.addresses import Site, identity, shown
from knowledge.web.page import Page, PageUnavailable
from knowledge.web.sitemap import LONGEST_ADDRESS, read_sitemap

MOST_SITEMAPS = 50
DEEPEST = 3  # indexes of indexes; sitemaps.org has none, sites do


@dataclass(frozen=True, slots=True, kw_only=True)
class SitemapResult:
    """The addresses of pages in the order of the sitemaps, each once; ``notes`` are sentences on what is missing.

    ``changed`` says of pages when they did last, as their sitemaps have it; ``complete`` whether all was read that
    there is.
    """

    urls: tuple[str, ...]
    notes: tuple[str, ...] = ()
    changed: Mapping[str, str] = field(default_factory=dict)
    complete: bool = True


class Walk:
    """Collects at most ``most`` addresses, of ``site`` alone if there is one, from sitemaps that ``fetch`` gets."""

    def __init__(self, fetch: Callable[[str], Awaitable[Page]], *, most: int, site: Site | None) -> None:
        self._fetch = fetch
        self._most = most
        self._site = site
        self._pages: dict[str, str] = {}  # with when they changed
        self._more = False  # than ``most``
        self._elsewhere: Counter[str] = Counter()
        self._invalid = 0
        self._notes: list[str] = []

    async def through(self, starts: Iterable[str]) -> SitemapResult:
        """Follow sitemaps from ``starts`` on; raises PageUnavailable if none can be read at all."""
        waiting = deque((start, 0) for start in starts)
        seen = {start for start, _ in waiting}
        failures: list[PageUnavailable] = []
        asked = 0
        while waiting and asked < MOST_SITEMAPS and not self._more:
            asked += 1
            url, depth = waiting.popleft()
            try:
                inner = await self._opened(url, depth)
            except PageUnavailable as error:
                failures.append(error)
                self._notes.append(error.message)
                continue
            new = [address for address in inner if address not in seen]
            seen.update(new)
            waiting.extend((address, depth + 1) for address in new)
        if failures and len(failures) == asked:
            raise failures[0]
        return SitemapResult(
            urls=tuple(self._pages),
            notes=(*self._notes, *self._summary(len(waiting))),
            changed={page: changed for page, changed in self._pages.items() if changed},
            complete=not (self._notes or self._more or waiting),
        )

    async def _opened(self, url: str, depth: int) -> list[str]:
        """Take the pages of a sitemap, and return the sitemaps it leads to."""
        page = await self._fetch(url)
        sitemap = await asyncio.to_thread(read_sitemap, page.content, url=page.url)
        self._notes.extend(sitemap.notes)
        for address in sitemap.pages:
            self._take(address, page.url, sitemap.changed.get(address, ""))
        if sitemap.sitemaps and depth == DEEPEST:
            self._notes.append(f"{shown(page.url)} leads to sitemaps too many steps away; they were not opened.")
            return []
        # Sitemaps may lie on another host than the pages, to which robots.txt led; from there on they stay there.
        theirs = Site.of(page.url)
        return [inner for inner in (self._valid(address, page.url, theirs) for address in sitemap.sitemaps) if inner]

    def _take(self, address: str, base: str, changed: str) -> None:
        page = None if self._more else self._valid(address, base)
        if page is None or page in self._pages:
            return
        if len(self._pages) == self._most:
            self._more = True
        else:
            self._pages[page] = changed

    def _valid(self, address: str, base: str, also: Site | None = None) -> str | None:
        try:
            found = identity(urljoin(base, address))
            site = Site.of(found)
        except ValueError:
            found = ""
        if not found or len(found) > LONGEST_ADDRESS:
            self._invalid += 1
            return None
        if self._site is not None and site not in (self._site, also):
            self._elsewhere[str(site)] += 1
            return None
        return found

    def _summary(self, waiting: int) -> Iterable[str]:
        if self._more:
            yield f"Only the first {self._most:,} addresses were taken; there are more."
        elif waiting:
            yield f"Only {MOST_SITEMAPS} sitemaps were opened; left out: {waiting:,} more."
        if self._elsewhere:
            sites = ", ".join(site for site, _ in self._elsewhere.most_common(3))
            sites += ", …" if len(self._elsewhere) > 3 else ""
            yield f"Left out: {_counted(self._elsewhere.total(), 'address', 'addresses')} of other sites ({sites})."
        if self._invalid:
            yield f"Left out: {_counted(self._invalid, 'entry that is', 'entries that are')} no web address."


def _counted(number: int, one: str, several: str) -> str:
    return f"{number:,} {one if number == 1 else several}"
