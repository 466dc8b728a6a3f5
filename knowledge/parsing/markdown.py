"""Markdown, by way of HTML, with what stands in front of it as metadata."""

import re
from typing import Any

from knowledge.parsing.draft import Draft
from knowledge.parsing.elements import write_elements
from knowledge.parsing.encoding import decode
from knowledge.parsing.html import parse_html
from knowledge.parsing.source import Source

_FRONT_MATTER = re.compile(r"\A---[ \t]*\n(.{0,20000}?)\n(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)


def read(source: Source, draft: Draft) -> None:
    """Write a Markdown file into ``draft``."""
    text = decode(source.data, source.charset).replace("\r\n", "\n").replace("\r", "\n")
    if front := _FRONT_MATTER.match(text):
        facts = _facts(front[1])
        if facts is not None:
            text = text[front.end() :]
            draft.title = str(facts.pop("title", "") or "")
            draft.language = str(facts.pop("lang", "") or facts.pop("language", "") or "")
            draft.note(**{str(key): value for key, value in facts.items()})
    write_markdown(text, draft)


def write_markdown(text: str, draft: Draft) -> None:
    """Write ``text``, Markdown as GitHub has it, into ``draft``."""
    from markdown_it import MarkdownIt

    if not text.strip():
        return
    # No links to make of addresses in the text, and none to check: only the text is wanted.
    parser = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    root = parse_html(f"<html><body>{parser.render(text)}</body></html>".encode("utf-8", "replace"), charset="utf-8")
    write_elements(root, draft)


def _facts(text: str) -> dict[Any, Any] | None:
    """Return the mapping that ``text`` is in YAML; None for anything else, which then is no front matter."""
    import yaml

    try:
        # Aliases are how YAML is made to explode; nobody needs them here.
        found = None if re.search(r"(?m)[:\-\[,]\s*[&*]\w", text) else yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
