"""What a parsed document says, short enough to compare."""

from knowledge.blocks import Parsed
from knowledge.parsing import parse


def told(parsed: Parsed) -> list[tuple[str, str]]:
    """Kind and text of each block; a heading's kind is "h" and its level."""
    return [(f"h{block.level}" if block.level else str(block.kind), block.text) for block in parsed.blocks]


def read(data: bytes | str, name: str = "file", mime: str = "") -> list[tuple[str, str]]:
    return told(parse(data.encode() if isinstance(data, str) else data, name=name, mime=mime))
