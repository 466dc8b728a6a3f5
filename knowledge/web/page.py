"""A page of the web as it came, and why one did not."""

from knowledge.web.addresses import shown
from routing.backends.fetch import Fetched

Page = Fetched
"""``url`` is where it was in the end; ``etag`` and ``last_modified`` belong to that address, not to another."""

PASSING = frozenset({"timed_out", "unreachable", "robots_unavailable", "http_408", "http_425", "http_429"})


class PageUnavailable(Exception):
    """A page that could not be had; ``message`` is for people, ``code`` for programs.

    The codes are forbidden_by_robots, robots_unavailable, not_public, invalid_url, unsupported_scheme, unreachable,
    timed_out, too_large, too_many_redirects, compressed, not_a_sitemap, and the status of the answer as http_404.
    """

    def __init__(self, url: str, reason: str, *, code: str) -> None:
        self.message = f"{shown(url)} cannot be read: {reason}."
        self.code = code
        super().__init__(self.message)

    @property
    def may_pass(self) -> bool:
        """Whether it makes sense to try again later, with nothing changed."""
        return self.code in PASSING or self.code.startswith("http_5")
