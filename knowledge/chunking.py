"""Documents into chunks: by structure first, by length where that is not enough. Pure.

A chunk never mixes sections, and holds as many of a section's blocks as fit. What is longer than a chunk is cut where
a reader would pause: between sentences, lines, words, and inside a word only if there is nothing else. A table that
is cut has its header line in each part; running text overlaps by a few sentences. The same document with the same
settings always gives the same chunks, which is how unchanged ones are recognised.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from knowledge.blocks import Block, BlockKind

Count = Callable[[str], int]
"""How many tokens a text has for the embedding model."""

SEPARATOR = " › "
LONGEST_PATH = 900
HEADER_SHARE = 3
"""Title and headings may take at most this part (a third) of a chunk's tokens."""
DEEPEST = 6

# After a sentence's end and the quotes or brackets that close it; scripts without spaces end theirs without one.
_SENTENCE = re.compile(r"(?<=[.!?…؟।։])[\"'”’»)\]]*\s+|(?<=[。！？｡])[」』”）]*|\n+")
_WORD = re.compile(r"\s+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """How to cut: a chunk's ``tokens`` with its header, the ``overlap`` repeated, and whether there is a ``header``."""

    tokens: int = 190
    overlap: int = 20
    header: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A chunk before it is stored: ``header`` is embedded before ``text`` and shown apart from it.

    The first chunk of a section begins with the section's heading, as the document does. ``edit`` is the id of the
    edit that made it of what was parsed; one that is not ``enabled`` is kept and not found.
    """

    ordinal: int
    text: str
    title: str = ""
    heading: str = ""
    page: int | None = None
    tokens: int = 0
    edit: int | None = None
    enabled: bool = True

    @property
    def header(self) -> str:
        return SEPARATOR.join(part for part in (self.title, self.heading) if part)

    def embedded(self, *, with_header: bool) -> str:
        """Return the text that stands for the chunk."""
        header = self.header if with_header else ""
        own = self.heading.rpartition(SEPARATOR)[2]
        if own and self.text.startswith(f"{own}\n"):
            header = header.removesuffix(own).removesuffix(SEPARATOR)
        return f"{header}\n{self.text}" if header else self.text

    def hash(self, *, with_header: bool) -> str:
        return hashlib.sha256(self.embedded(with_header=with_header).encode("utf-8", "surrogatepass")).hexdigest()


def fitting_title(title: str, heading: str, cut: Cut, count: Count) -> str:
    """Return as much of a document's title as chunks under ``heading``, which fits, are embedded with."""
    title = " ".join(title.split())
    return _fitting_header(title, (heading,) if heading else (), cut, count)[0] if cut.header else title


def chunked(title: str, blocks: Sequence[Block], cut: Cut, count: Count) -> Iterator[Piece]:
    """Yield the chunks of a document in reading order."""
    title = " ".join(title.split())
    ordinal = 0
    for section in _sections(title, blocks):
        header = _fitting_header(title, section.path, cut, count) if cut.header else ("", "")
        room = max(16, cut.tokens - (count(SEPARATOR.join(filter(None, header))) + 1 if any(header) else 0))
        opening = _opening(section, room, count)
        units = _units(section.blocks, room - opening.tokens, cut.overlap, count)
        for part in _packed(units, room, cut.overlap, opening):
            yield Piece(
                ordinal=ordinal,
                text=part.text,
                title=header[0] if cut.header else title,
                heading=header[1] if cut.header else SEPARATOR.join(section.path)[:LONGEST_PATH],
                page=part.page,
                tokens=part.tokens + cut.tokens - room,
            )
            ordinal += 1


# --- sections ---------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Section:
    """``path`` are the headings above its text, ``own`` the last of them where the text is to begin with it."""

    path: tuple[str, ...]
    own: str = ""
    blocks: list[Block] = field(default_factory=list)


def _sections(title: str, blocks: Iterable[Block]) -> Iterator[_Section]:
    """Yield what stands under each heading; a heading with nothing under it becomes text of its own."""
    path: list[tuple[int, str]] = []
    section = _Section(())
    for block in blocks:
        if block.kind is not BlockKind.HEADING:
            section.blocks.append(block)
            continue
        if section.blocks:
            yield section
        elif section.path and (not path or block.level <= path[-1][0]):
            yield _bare_heading(section, block.page)
        level = min(max(block.level, 1), DEEPEST)
        path = [one for one in path if one[0] < level] + [(level, " ".join(block.text.split()))]
        names = tuple(text for _, text in path)
        # The document's own title, said again as its first heading, is no heading within it.
        names = names[1:] if names[0].casefold() == title.casefold() else names
        section = _Section(names, own=names[-1] if names else "")
    if section.blocks:
        yield section
    elif section.path:
        yield _bare_heading(section, None)


def _bare_heading(section: _Section, page: int | None) -> _Section:
    text = Block(kind=BlockKind.TEXT, text=section.path[-1], page=page)
    return _Section(section.path[:-1], blocks=[text])


def _opening(section: _Section, room: int, count: Count) -> "_Unit":
    """Return a section's own heading as the beginning of its text; an empty one where it would take too much of it."""
    tokens = count(section.own) if section.own else 0
    own = section.own if tokens * HEADER_SHARE <= room else ""
    return _Unit(own, tokens if own else 0, section.blocks[0].page, "")


def _fitting_header(title: str, path: tuple[str, ...], cut: Cut, count: Count) -> tuple[str, str]:
    """Return title and heading path as far as they fit: first the upper headings go, then the title is shortened."""
    most = cut.tokens // HEADER_SHARE
    for start in range(len(path) + 1):
        heading = SEPARATOR.join(path[start:])[:LONGEST_PATH]
        if count(SEPARATOR.join(filter(None, (title, heading)))) <= most:
            return title, heading
    words = title.split()
    while words and count(" ".join(words)) > most:
        words = words[: len(words) * 3 // 4]
    return " ".join(words), ""


# --- units ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Unit:
    """What is not cut any more; ``glue`` joins it to the one before, ``header`` is a table's, of which it is a row."""

    text: str
    tokens: int
    page: int | None
    glue: str
    header: str = ""
    header_tokens: int = 0
    repeats: bool = False  # whether it may be repeated as overlap


def _units(blocks: Sequence[Block], room: int, overlap: int, count: Count) -> Iterator[_Unit]:
    for block in blocks:
        text = _with_header(block)
        whole = count(text)
        if whole <= room:
            repeats = block.kind is BlockKind.TEXT and whole <= overlap
            yield _Unit(text, whole, block.page, "\n\n", repeats=repeats)
        elif block.kind is BlockKind.TABLE:
            yield from _rows(block, room, count)
        elif block.kind is BlockKind.CODE:
            yield from _pieces(block, room, count, _lines, "\n")
        else:
            yield from _pieces(block, room, count, _sentences, " ")


def _with_header(block: Block) -> str:
    if block.kind is BlockKind.TABLE and block.header and not block.text.startswith(block.header):
        return f"{block.header}\n{block.text}"
    return block.text


def _rows(block: Block, room: int, count: Count) -> Iterator[_Unit]:
    header = block.header
    header_tokens = count(header) if header else 0
    if header_tokens * 2 > room:  # no row would fit beside it
        header, header_tokens = "", 0
    body = block.text.removeprefix(block.header).lstrip("\n") if header else block.text
    glue = "\n\n"
    for line in _lines(body):
        for text, tokens in _within(line, room - header_tokens, count):
            yield _Unit(text, tokens, block.page, glue, header, header_tokens)
            glue = "\n"


def _pieces(block: Block, room: int, count: Count, split: Callable[[str], Iterator[str]], glue: str) -> Iterator[_Unit]:
    first = "\n\n"
    for part in split(block.text):
        for text, tokens in _within(part, room, count):
            yield _Unit(text, tokens, block.page, first, repeats=block.kind is BlockKind.TEXT)
            first = "\n" if part.startswith(("- ", "* ", "• ")) else glue


def _lines(text: str) -> Iterator[str]:
    yield from (line.rstrip() for line in text.split("\n") if line.strip())


def _sentences(text: str) -> Iterator[str]:
    start = 0
    for match in _SENTENCE.finditer(text):
        end = match.start() + len(match[0].rstrip())
        if end > start and (sentence := text[start:end].strip()):
            yield sentence
        start = match.end()
    if rest := text[start:].strip():
        yield rest


def _within(text: str, room: int, count: Count) -> Iterator[tuple[str, int]]:
    """Yield ``text`` whole, or in parts of at most ``room`` tokens, cut between words if that is possible."""
    tokens = count(text)
    if tokens <= room:
        yield text, tokens
        return
    words = _WORD.split(text)
    if len(words) > 1:
        yield from _halved(words, " ", room, count)
    elif len(text) > 1:
        yield from _halved(list(text), "", room, count)
    else:
        yield text, tokens


def _halved(parts: list[str], glue: str, room: int, count: Count) -> Iterator[tuple[str, int]]:
    """Yield runs of ``parts`` of at most ``room`` tokens, each about as long as the estimate says it may be."""
    start = 0
    while start < len(parts):
        taken = parts[start:]
        tokens = count(glue.join(taken[:1024]))
        size = len(taken[:1024])
        while tokens > room and size > 1:
            size = max(1, min(size - 1, int(size * room / tokens)))
            tokens = count(glue.join(taken[:size]))
        if tokens > room:  # one word that is longer than a chunk
            yield from _within(taken[0], room, count)
        else:
            yield glue.join(taken[:size]), tokens
        start += size


# --- packing ----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Part:
    units: list[_Unit] = field(default_factory=list)
    tokens: int = 0

    def add(self, unit: _Unit) -> None:
        if unit.header and not (self.units and self.units[-1].header == unit.header):
            self.tokens += unit.header_tokens
        self.units.append(unit)
        self.tokens += unit.tokens

    def with_room_for(self, unit: _Unit, room: int) -> bool:
        needs = unit.tokens
        if unit.header and not (self.units and self.units[-1].header == unit.header):
            needs += unit.header_tokens
        return self.tokens + needs <= room

    @property
    def page(self) -> int | None:
        return self.units[0].page

    @property
    def text(self) -> str:
        written: list[str] = []
        header = ""
        for unit in self.units:
            glue = unit.glue if written else ""
            if unit.header and unit.header != header:
                written.append(f"{glue}{unit.header}")
                glue = "\n"
            header = unit.header
            written.append(f"{glue}{unit.text}")
        return "".join(written)


def _packed(units: Iterable[_Unit], room: int, overlap: int, opening: _Unit) -> Iterator[_Part]:
    """Yield parts filled with units up to ``room`` tokens, the end of one repeated at the beginning of the next."""
    part = _Part([opening], opening.tokens) if opening.text else _Part()
    for unit in units:
        if part.units and not part.with_room_for(unit, room):
            yield part
            part = _overlapping(part, unit, room, overlap)
        part.add(unit)
    if part.units:
        yield part


def _overlapping(before: _Part, following: _Unit, room: int, overlap: int) -> _Part:
    """Return a part that begins with the last sentences of ``before``, if they and the following unit fit."""
    repeated: list[_Unit] = []
    tokens = 0
    if following.repeats and following.glue != "\n\n":
        for unit in reversed(before.units):
            if not unit.repeats or tokens + unit.tokens > overlap or tokens + unit.tokens + following.tokens > room:
                break
            repeated.insert(0, unit)
            tokens += unit.tokens
    part = _Part()
    for unit in repeated:
        part.add(unit)
    return part
