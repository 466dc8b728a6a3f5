"""A sitemap or a feed as a source: its pages, each asked for whether it changed."""

import zlib
from datetime import UTC, datetime

from knowledge.models import Document
from knowledge.pages import page_mime, page_name
from knowledge.receiving import Incoming
from knowledge.watching.findings import ItemFailed, Listing, SourceFailed
from knowledge.watching.patterns import Pattern
from knowledge.web import PageUnavailable, Web, identity

MOST_PAGES = 5_000
ASK_DAYS = 7
"""A page whose sitemap says that it did not change is asked itself after so many days: some sitemaps are wrong."""
GONE = ("http_404", "http_410")


class Pages:
    """``is_feed``: it holds the newest pages alone, and what leaves it is not gone."""

    reason = "It changed on its site."

    def __init__(self, web: Web, url: str, *, pattern: Pattern, is_feed: bool) -> None:
        self._web = web
        self._url = url
        self._pattern = pattern
        self._is_feed = is_feed

    async def listing(self) -> Listing:
        """Return the addresses of the pages. Raises SourceFailed."""
        try:
            # Whoever watches a feed has chosen it: the pages may well be on another host.
            found = await self._web.addresses_in_sitemap(self._url, most=MOST_PAGES, other_sites=self._is_feed)
        except PageUnavailable as error:
            raise SourceFailed(error.message) from error
        today = datetime.now(UTC).date().toordinal()
        stamps = {
            url: _stamp(url, found.changed.get(url, ""), today)
            for url in found.urls
            if self._pattern.matches_address(url)
        }
        return Listing(stamps=stamps, complete=found.complete and not self._is_feed, notes=found.notes)

    async def bring(self, source: str, *, etag: str, last_modified: str) -> Incoming | None:
        """Return a page of the listing, None if it is as it was when it had these. Raises ItemFailed."""
        try:
            page = await self._web.fetch_page(source, etag=etag, last_modified=last_modified)
        except PageUnavailable as error:
            raise ItemFailed(error.message, gone=error.code in GONE) from error
        if page is None:
            return None
        own = identity(page.url) == source
        return Incoming(
            source=source,
            name=page_name(page),
            mime=page_mime(page),
            data=page.content,
            url=source,
            origin=Document.Origin.URL,
            etag=page.etag if own else "",
            last_modified=page.last_modified if own else "",
        )


def _stamp(url: str, changed: str, today: int) -> str:
    """Return what is the same for some days while a sitemap says the same; not for all pages the same days."""
    return f"{changed} {(today + zlib.crc32(url.encode()) % ASK_DAYS) // ASK_DAYS}" if changed else ""
