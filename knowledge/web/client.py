"""The web as the knowledge base reads it: one page, or the addresses that a sitemap holds."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from yarl import URL

from knowledge.web.addresses import Site, identity
from knowledge.web.pace import Manners, Pace
from knowledge.web.page import Page, PageUnavailable
from knowledge.web.robots import MOST_BYTES as MOST_BYTES_OF_ROBOTS
from knowledge.web.robots import Robots, RobotsFiles
from knowledge.web.sitemaps import MOST_SITEMAPS, SitemapResult, Walk
from routing.backends.fetch import (
    USER_AGENT,
    Allowed,
    Fetched,
    Fetcher,
    FetchFailed,
    Limits,
    Redirected,
    Resolve,
    checked_url,
    resolve,
)

LIMITS = Limits(seconds=30.0, redirects=5)


class Web:
    """Reads the open internet, and the hosts ``allowed``, as ``user_agent`` and with ``manners``.

    ``limits`` hold for each request, redirects apart; waiting for a turn does not count. An instance remembers sites'
    robots.txt and when they were last asked, so one serves many pages, in one event loop at a time.
    """

    def __init__(
        self,
        allowed: Allowed,
        *,
        limits: Limits = LIMITS,
        manners: Manners | None = None,
        user_agent: str = USER_AGENT,
        resolve: Resolve = resolve,
    ) -> None:
        self._fetcher = Fetcher(allowed, limits=limits, resolve=resolve, user_agent=user_agent)
        self._redirects = limits.redirects
        self._agent = user_agent
        self._manners = manners or Manners()
        self._pace = Pace()
        self._robots = RobotsFiles(self._robots_txt, remember=self._manners.remember, retry=self._manners.retry)

    async def fetch_page(self, url: str, *, etag: str = "", last_modified: str = "") -> Page | None:
        """Return what is at ``url``, or None if it is as it was when a page had that ``etag`` and ``last_modified``.

        They count for ``url`` itself alone: give those of a page whose own ``url`` it is, since what an address is
        redirected to may have become another page. Raises PageUnavailable.
        """
        with _in_words(url):
            at = url
            for _ in range(1 + self._redirects):
                found = await self._step(at, etag, last_modified)
                if not isinstance(found, Redirected):
                    return found
                at, etag, last_modified = found.url, "", ""
            raise FetchFailed(f"it was redirected more than {self._redirects} times", code="too_many_redirects")

    async def addresses_in_sitemap(self, url: str, *, most: int = 1000, other_sites: bool = False) -> SitemapResult:
        """Return the addresses of pages in a sitemap, an index of sitemaps or a feed, ``most`` at the most.

        The address of a site alone (https://example.org/) stands for the sitemaps that its robots.txt names, or else
        for /sitemap.xml. Pages of other sites are left out but with ``other_sites``. Raises PageUnavailable if no
        sitemap can be read.
        """
        with _in_words(url):
            checked_url(url)
            start = identity(url)
            walk = Walk(self._sitemap, most=most, site=None if other_sites else Site.of(start))
            if URL(start).raw_path_qs != "/":
                return await walk.through([start])
            if named := await self._named_sitemaps(URL(start)):
                return await walk.through(named)
            return await self._usual_sitemap(walk, URL(start))

    async def _step(self, url: str, etag: str, last_modified: str) -> Fetched | Redirected | None:
        # Every address on the way is asked for politely, and may be forbidden.
        parsed = checked_url(url)
        robots = await self._robots_of(parsed)
        robots.check(str(parsed), self._agent)
        await self._pace.turn(parsed.raw_host or "", self._manners.between(robots.delay(self._agent)))
        return await self._fetcher.step(url, etag=etag, last_modified=last_modified)

    async def _robots_of(self, url: URL) -> Robots:
        return await self._robots.of(str(url.origin()))

    async def _robots_txt(self, url: str) -> Fetched:
        return await self._fetcher.fetch(url, size=MOST_BYTES_OF_ROBOTS, cut=True)

    async def _named_sitemaps(self, site: URL) -> list[str]:
        named = []
        for line in (await self._robots_of(site)).sitemaps[:MOST_SITEMAPS]:
            with suppress(ValueError):  # then it is as if the line were not there
                named.append(identity(str(site.join(URL(line)))))
        return list(dict.fromkeys(named))

    async def _usual_sitemap(self, walk: Walk, site: URL) -> SitemapResult:
        try:
            return await walk.through([str(site.with_path("/sitemap.xml"))])
        except PageUnavailable as error:
            if error.code not in ("http_404", "http_410", "not_a_sitemap"):
                raise
            reason = (
                "its robots.txt names no sitemap, and there is none at /sitemap.xml; "
                "give the address of a sitemap or feed, or add its pages one by one"
            )
            raise PageUnavailable(str(site), reason, code=error.code) from error

    async def _sitemap(self, url: str) -> Page:
        page = await self.fetch_page(url)
        assert page is not None, "only a page that is known can be as it was"
        return page


@contextmanager
def _in_words(url: str) -> Iterator[None]:
    try:
        yield
    except FetchFailed as error:
        raise PageUnavailable(url, str(error), code=error.code) from error
