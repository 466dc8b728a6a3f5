"""Which addresses are the same, and which belong to one site. Pure."""

from dataclasses import dataclass

from yarl import URL

from routing.backends.fetch import FetchFailed, checked_url

DEFAULT_PORTS = (80, 443)


@dataclass(frozen=True, slots=True)
class Site:
    """What counts as one site: a host with and without "www.", over http and https."""

    host: str
    port: int | None

    @classmethod
    def of(cls, url: str) -> "Site":
        """Return the site of an address; raises ValueError where ``identity`` does."""
        parsed = URL(identity(url))
        port = None if parsed.port in DEFAULT_PORTS else parsed.port
        return cls((parsed.raw_host or "").removeprefix("www."), port)

    def __str__(self) -> str:
        return self.host if self.port is None else f"{self.host}:{self.port}"


def identity(url: str) -> str:
    """Return the spelling that all addresses of a page have in common.

    The host is in lower case (and in ASCII), the scheme's own port, the fragment and "." and ".." are gone, escapes
    are those that are needed. The query stays as it is, its order too. Raises ValueError for what is no http or https
    URL, or has a user name in it.
    """
    try:
        parsed = checked_url(url.strip())
    except FetchFailed as error:
        raise ValueError(f"{shown(url)} is no address of a page: {error}.") from error
    host = (parsed.raw_host or "").rstrip(".")
    port = None if parsed.is_default_port() else parsed.explicit_port
    return str(
        URL.build(
            scheme=parsed.scheme,
            authority=(f"[{host}]" if ":" in host else host) + (f":{port}" if port is not None else ""),
            path=parsed.raw_path or "/",
            query_string=parsed.raw_query_string,
            encoded=True,
        )
    )


def shown(url: str, longest: int = 200) -> str:
    """Return ``url`` as it may be shown and written to a log: not endless, and without a password."""
    before, slashes, after = url.strip().partition("://")
    authority, slash, path = after.partition("/")
    url = before + slashes + authority.rpartition("@")[2] + slash + path
    return url if len(url) <= longest else url[:longest] + "…"
