"""What parsing makes of a file, whatever its format: a title and blocks in reading order. Values only."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class BlockKind(StrEnum):
    HEADING = "heading"
    TEXT = "text"  # a paragraph, a list, a caption
    CODE = "code"
    TABLE = "table"


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A stretch of a document that belongs together.

    ``level`` is a heading's, 1 to 6; ``page`` counts from 1 (of a presentation the slide, of a workbook the sheet).
    A table's ``text`` holds a row a line, its cells separated by " | ", and ``header`` the line with its columns'
    names, which is repeated wherever the table is cut. ``language`` is a programming language, of code.
    """

    kind: BlockKind
    text: str
    level: int = 0
    page: int | None = None
    header: str = ""
    language: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """A document as read: ``mime`` is what it was found to be, whatever it was called.

    ``language`` is an ISO 639-1 code where the file declares one, else "". ``metadata`` holds what the file says of
    itself (author, created, …), JSON values only. ``warnings`` say in whole sentences what of it could not be read.
    """

    title: str
    blocks: tuple[Block, ...]
    mime: str
    language: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
