"""A document while it is read: readers write into it in reading order."""

import re
from typing import Any

from knowledge.blocks import Block, BlockKind, Parsed
from knowledge.parsing.cleaning import clean, clean_code, clean_line
from knowledge.parsing.failure import ParseFailed, too_large

MOST_CHARACTERS = 100_000_000  # of a document's text; some fifty thousand pages
LONGEST_HEADING = 300
LONGEST_TITLE = 300
LONGEST_METADATA = 1000
MOST_METADATA = 40
_LANGUAGE = re.compile(r"([a-z]{2})(?:[-_].*)?", re.IGNORECASE)


class Draft:
    """Collects a document's blocks, cleaned; empty ones are dropped.

    ``page`` is given to every block written after it is set.
    """

    def __init__(self) -> None:
        self.page: int | None = None
        self.title = ""
        self.language = ""
        self.mime = ""
        self.blocks: list[Block] = []
        self._metadata: dict[str, Any] = {}
        self._warnings: dict[str, None] = {}
        self._characters = 0

    def heading(self, text: str, level: int) -> None:
        """Write a heading; ``level`` is brought into 1 to 6, and one too long to be a heading is text."""
        text = clean_line(text)
        if len(text) > LONGEST_HEADING:
            self._add(Block(kind=BlockKind.TEXT, text=text, page=self.page))
        else:
            level = min(max(level, 1), 6)
            self._add(Block(kind=BlockKind.HEADING, text=text, level=level, page=self.page))

    def text(self, text: str) -> None:
        self._add(Block(kind=BlockKind.TEXT, text=clean(text), page=self.page))

    def code(self, text: str, language: str = "") -> None:
        self._add(Block(kind=BlockKind.CODE, text=clean_code(text), language=language, page=self.page))

    def table(self, lines: list[str], header: str = "") -> None:
        """Write a table of lines that are clean already; ``header`` is the one with the columns' names."""
        self._add(Block(kind=BlockKind.TABLE, text="\n".join(lines), header=header, page=self.page))

    def _add(self, block: Block) -> None:
        if not block.text.strip():
            return
        self._characters += len(block.text)
        if self._characters > MOST_CHARACTERS:
            raise too_large(f"The document holds more than {MOST_CHARACTERS:,} characters of text")
        self.blocks.append(block)

    def warn(self, sentence: str) -> None:
        """Note what could not be read, once."""
        self._warnings[clean_line(sentence)] = None

    def note(self, **facts: Any) -> None:
        """Keep what the file says of itself: texts, numbers and lists of texts; the first one said stays."""
        for key, value in facts.items():
            kept = _fact(value)
            if kept not in ("", None, []) and len(self._metadata) < MOST_METADATA:
                self._metadata.setdefault(clean_line(key)[:100], kept)

    def finish(self, *, stem: str, mime: str) -> Parsed:
        """Return the document; raises ParseFailed when nothing was written."""
        if not self.blocks:
            raise ParseFailed("empty", "The document holds no text. Check that it is the file you meant to upload.")
        heading = next((block.text for block in self.blocks if block.kind is BlockKind.HEADING), "")
        language = _LANGUAGE.fullmatch(self.language.strip())
        return Parsed(
            title=(clean_line(self.title) or heading or clean_line(stem) or "Untitled")[:LONGEST_TITLE],
            blocks=tuple(self.blocks),
            mime=self.mime or mime,
            language=language[1].lower() if language else "",
            metadata=self._metadata,
            warnings=tuple(self._warnings),
        )


def _fact(value: Any) -> Any:
    """Return ``value`` as JSON has it, "" for what is kept nowhere. Structures are not: they may be bombs."""
    if isinstance(value, str):
        return clean_line(value[: 4 * LONGEST_METADATA])[:LONGEST_METADATA]
    if isinstance(value, bool | float) or (isinstance(value, int) and abs(value) < 2**53):
        return value
    if isinstance(value, list | tuple):
        return [_fact(item) for item in value[:MOST_METADATA] if isinstance(item, str) and item.strip()]
    return str(value)[:LONGEST_METADATA] if hasattr(value, "isoformat") else ""
