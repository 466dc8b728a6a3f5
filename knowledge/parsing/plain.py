"""Plain text: paragraphs as they are parted, headings where they are underlined."""

import re
from collections.abc import Iterator

from knowledge.parsing.cleaning import clean_code
from knowledge.parsing.draft import Draft
from knowledge.parsing.encoding import decode
from knowledge.parsing.source import Source

_UNDERLINE = re.compile(r"([=\-~^*#+\"'`])\1{2,}")
_SENTENCE_END = re.compile(r"[.!?:…。！？][\"'»”’)\]]*$")
LONG_PARAGRAPH = 2000  # characters; a longer one is a text without blank lines, and parted by other signs


def read(source: Source, draft: Draft) -> None:
    """Write a plain text into ``draft``."""
    write_plain(decode(source.data, source.charset), draft)


def write_plain(text: str, draft: Draft) -> None:
    """Write ``text`` into ``draft``, a block a paragraph."""
    levels: dict[str, int] = {}  # of the characters that underline, in the order they come (as reStructuredText has it)
    for paragraph in re.split(r"\n{2,}", clean_code(text)):
        lines = paragraph.split("\n")
        if len(lines) == 2 and _is_underlined(lines):
            draft.heading(lines[0], levels.setdefault(lines[1][0], len(levels) + 1))
        elif len(lines) > 2 and _is_underlined(lines[:2]):
            draft.heading(lines[0], levels.setdefault(lines[1][0], len(levels) + 1))
            draft.text("\n".join(lines[2:]))
        elif len(paragraph) > LONG_PARAGRAPH and len(lines) > 1:
            for part in _parted(lines):
                draft.text("\n".join(part))
        else:
            draft.text(paragraph)


def _is_underlined(lines: list[str]) -> bool:
    title, line = lines[0].strip(), lines[1].strip()
    return bool(_UNDERLINE.fullmatch(line)) and 0 < len(title) <= len(line) + 2 and not _UNDERLINE.fullmatch(title)


def _parted(lines: list[str]) -> Iterator[list[str]]:
    """Part lines that were wrapped at a width: a line that ends a sentence well before it ends a paragraph."""
    lengths = sorted(map(len, lines))
    width = lengths[len(lengths) * 9 // 10]
    part: list[str] = []
    for line in lines:
        part.append(line)
        if len(line) < 0.75 * width and _SENTENCE_END.search(line):
            yield part
            part = []
    yield part
