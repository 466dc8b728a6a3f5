"""Reading one sitemap, whatever its form: XML, an index of others, plain text, a feed; packed or not. Pure.

The forms are those of sitemaps.org, RSS 0.9 to 2.0 and Atom. XML is read by expat itself, event by event: no tree is
built, nothing is loaded from elsewhere, and whoever declares entities is refused, so none can be expanded.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from xml.parsers import expat

from knowledge.web.addresses import shown
from knowledge.web.page import PageUnavailable
from routing.backends.gunzip import Damaged, TooMuch, gunzip

MOST_BYTES = 50 * 1024 * 1024  # unpacked, and
MOST_ADDRESSES = 50_000  # both as sitemaps.org has it
LONGEST_ADDRESS = 2048
DEEPEST = 32  # elements in each other

PAGES = frozenset({("urlset", "url", "loc"), ("rss", "channel", "item", "link"), ("rdf", "item", "link")})
SITEMAPS = frozenset({("sitemapindex", "sitemap", "loc")})
ATOM_LINK = ("feed", "entry", "link")
ENTRIES = frozenset({("urlset", "url"), ("rss", "channel", "item"), ("rdf", "item"), ("feed", "entry")})
DATES = frozenset({("urlset", "url", "lastmod"), ("feed", "entry", "updated")})
LONGEST_DATE = 64
ROOTS = frozenset(path[0] for path in (*PAGES, *SITEMAPS, ATOM_LINK))

NO_SITEMAP = "it is no sitemap and no feed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sitemap:
    """The addresses of pages and of further sitemaps as they are written, and what was wrong, in whole sentences.

    ``changed`` says of pages when they did last, as it is written there.
    """

    pages: tuple[str, ...] = ()
    changed: Mapping[str, str] = field(default_factory=dict)
    sitemaps: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def read_sitemap(content: bytes, *, url: str) -> Sitemap:
    """Return what a sitemap holds; raises PageUnavailable, which names ``url``."""
    if content.startswith(b"\x1f\x8b"):
        try:
            content = gunzip(content, most=MOST_BYTES)
        except TooMuch as error:
            raise PageUnavailable(url, str(error), code="too_large") from error
        except Damaged as error:
            raise PageUnavailable(url, f"{NO_SITEMAP}: {error}", code="not_a_sitemap") from error
    if content[:16].lstrip(b"\xef\xbb\xbf\xff\xfe\0 \t\r\n").startswith(b"<"):
        return _XmlReader(url).read(content)
    return _text(content, url)


def _text(content: bytes, url: str) -> Sitemap:
    lines = [line for line in map(str.strip, content.decode("utf-8-sig", errors="replace").splitlines()) if line]
    pages = [line for line in lines if line.lower().startswith(("http://", "https://"))]
    if not pages or pages[0] != lines[0]:
        raise PageUnavailable(url, NO_SITEMAP, code="not_a_sitemap")
    notes = []
    if len(lines) > len(pages):
        notes.append(f"{shown(url)} has lines that are no web address; they were left out.")
    if len(pages) > MOST_ADDRESSES:
        notes.append(_more_than_allowed(url))
    return Sitemap(pages=tuple(pages[:MOST_ADDRESSES]), notes=tuple(notes))


def _more_than_allowed(url: str) -> str:
    return f"{shown(url)} holds more than {MOST_ADDRESSES:,} addresses; the others were not read."


class _Enough(Exception):
    """What follows is not read."""


class _XmlReader:
    def __init__(self, url: str) -> None:
        self._url = url
        self._path: list[str] = []
        self._text: list[str] | None = None  # of the element that holds an address
        self._pages: list[str] = []
        self._sitemaps: list[str] = []
        self._changed: dict[str, str] = {}
        self._entry = 0  # the first page of the entry that is being read
        self._date = ""  # and when it changed

    def read(self, content: bytes) -> Sitemap:
        parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._data
        parser.EntityDeclHandler = self._entity
        notes: list[str] = []
        try:
            parser.Parse(content, True)
        except _Enough:
            notes.append(_more_than_allowed(self._url))
        except expat.ExpatError as error:
            if not self._pages and not self._sitemaps:
                raise self._refused(f"{NO_SITEMAP}: line {error.lineno} is no valid XML") from error
            where = shown(self._url)
            notes.append(f"{where} is no valid XML from line {error.lineno} on; only what comes before was read.")
        return Sitemap(
            pages=tuple(self._pages),
            changed=self._changed,
            sitemaps=tuple(self._sitemaps),
            notes=tuple(notes),
        )

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        name = name.rpartition(":")[2].lower()
        self._path.append(name)
        if len(self._path) == 1 and name not in ROOTS:
            raise self._refused(NO_SITEMAP)
        if len(self._path) > DEEPEST:
            raise self._refused("its elements are nested too deeply")
        path = tuple(self._path)
        self._text = [] if path in PAGES or path in SITEMAPS or path in DATES else None
        if path in ENTRIES:
            self._entry, self._date = len(self._pages), ""
        if path == ATOM_LINK and attributes.get("rel", "alternate") == "alternate":
            self._add(self._pages, attributes.get("href", ""))

    def _end(self, _name: str) -> None:
        path = tuple(self._path)
        if self._text is not None:
            text, self._text = "".join(self._text), None
            if path in DATES:
                self._date = text.strip()[:LONGEST_DATE]
            else:
                self._add(self._sitemaps if path in SITEMAPS else self._pages, text)
        if path in ENTRIES and self._date:
            self._changed |= dict.fromkeys(self._pages[self._entry :], self._date)
        self._path.pop()

    def _data(self, text: str) -> None:
        if self._text is not None and len(self._text) < LONGEST_ADDRESS:
            self._text.append(text[: LONGEST_ADDRESS + 1])

    def _add(self, to: list[str], address: str) -> None:
        if not address.strip():
            return
        if len(to) == MOST_ADDRESSES:
            raise _Enough
        to.append(address.strip())

    def _entity(self, *_declaration: object) -> None:
        raise self._refused("it declares XML entities, which are not expanded")

    def _refused(self, reason: str) -> PageUnavailable:
        return PageUnavailable(self._url, reason, code="not_a_sitemap")
