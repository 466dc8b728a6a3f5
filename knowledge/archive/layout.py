"""What an archive looks like: its members, its manifest, and how large it may be. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

FORMAT = "moe-collection"
VERSION = 1

MANIFEST = "manifest.json"
CONTENTS = "contents"
"""Rows of the originals, whose bytes are members of their own."""
ORIGINAL = re.compile(r"contents/([0-9a-f]{64})")
VECTORS = re.compile(r"vectors/(\d{1,18})\.f32")

LARGEST_MANIFEST = 16 * 1024 * 1024
LONGEST_ROW = 64 * 1024 * 1024  # bytes of a line; the chunks of a document are named in one
LARGEST_ORIGINAL = 1024**3 - 1024**2  # what fits into a column
MOST_UNPACKED = 200
"""How many times the size of the file what is in it may have; texts have five to twenty."""
ALWAYS_UNPACKED = 256 * 1024 * 1024
"""Bytes that may come out of any file."""


def rows_member(table: str) -> str:
    return f"{table}.jsonl"


def original_member(sha256: str) -> str:
    return f"contents/{sha256}"


def vectors_member(model: int) -> str:
    """Return the name of a model's vectors: records of a chunk's id (uint64) and its numbers (float32), little-endian.

    They are in the order of the ids.
    """
    return f"vectors/{model}.f32"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A member but for originals, whose names say what they hold: ``size`` in bytes, ``rows`` or vectors in it."""

    size: int
    sha256: str
    rows: int

    def body(self) -> dict[str, Any]:
        return {"size": self.size, "sha256": self.sha256, "rows": self.rows}


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    slug: str
    created_at: str
    parts: Mapping[str, Part]

    def rows(self, table: str) -> int:
        """Return how many rows there are of a table."""
        part = self.parts.get(rows_member(table))
        return part.rows if part else 0

    def body(self) -> dict[str, Any]:
        parts = {name: part.body() for name, part in self.parts.items()}
        head = {"format": FORMAT, "version": VERSION, "slug": self.slug, "created_at": self.created_at}
        return head | {"parts": parts}

    @classmethod
    def parse(cls, body: Any) -> "Manifest":
        """Read a manifest; raises ValueError, with a sentence for people, for what is none that can be read here."""
        if not isinstance(body, dict) or body.get("format") != FORMAT:
            raise ValueError("It is no archive of a collection. Choose a file that 'export_collection' has written.")
        version = body.get("version")
        if version != VERSION:
            raise ValueError(
                f"It was written in version {str(version)[:20]} of the format, and this installation reads version "
                f"{VERSION}. Import it into an installation as new as the one that wrote it, or update this one."
            )
        try:
            parts = {
                str(name): Part(size=_count(one["size"]), sha256=str(one["sha256"]), rows=_count(one["rows"]))
                for name, one in body["parts"].items()
            }
            return cls(slug=str(body["slug"]), created_at=str(body["created_at"]), parts=parts)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ValueError("Its manifest is damaged. Export the collection again.") from error


def _count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(value)
    return value
