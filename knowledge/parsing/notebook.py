"""Jupyter notebooks: prose, code, and what the code printed."""

import json
from typing import Any

from knowledge.parsing.cleaning import clean_line
from knowledge.parsing.draft import Draft
from knowledge.parsing.encoding import decode
from knowledge.parsing.failure import broken
from knowledge.parsing.markdown import write_markdown
from knowledge.parsing.source import Source

LONGEST_OUTPUT = 10_000  # characters of a cell's output; the rest is seldom more than a log


def read(source: Source, draft: Draft) -> None:
    """Write a notebook's cells into ``draft``, images left out; raises ParseFailed."""
    try:
        notebook = json.loads(decode(source.data))
    except (ValueError, RecursionError) as error:
        raise broken("a Jupyter notebook", detail=type(error).__name__) from error
    cells = _list(notebook, "cells") or [
        cell for sheet in _list(notebook, "worksheets") for cell in _list(sheet, "cells")
    ]
    metadata = _object(notebook, "metadata")
    language = str(
        _object(metadata, "language_info").get("name") or _object(metadata, "kernelspec").get("language") or "python"
    )
    draft.title = str(metadata.get("title") or "")
    for cell in cells:
        if isinstance(cell, dict):
            _write_cell(cell, language, draft)


def _write_cell(cell: dict[str, Any], language: str, draft: Draft) -> None:
    text = _text(cell.get("source", cell.get("input")))
    kind = cell.get("cell_type")
    if kind == "markdown":
        write_markdown(text, draft)
    elif kind == "heading":
        draft.heading(text, int(cell.get("level") or 1))
    elif kind == "code":
        draft.code(text, language)
        for output in _list(cell, "outputs"):
            _write_output(output, draft)
    else:
        draft.text(text)


def _write_output(output: Any, draft: Draft) -> None:
    if not isinstance(output, dict):
        return
    if output.get("output_type") == "error":
        text = clean_line(f"{output.get('ename')}: {output.get('evalue')}")
    else:
        data = _object(output, "data") or output
        if markdown := _text(data.get("text/markdown")):
            write_markdown(markdown, draft)
            return
        text = _text(data.get("text/plain") or data.get("text"))
    if len(text) > LONGEST_OUTPUT:
        text = text[:LONGEST_OUTPUT]
        draft.warn("Long outputs of cells were cut.")
    draft.text(text)


def _text(value: Any) -> str:
    """Return text that may be split into lines, as notebooks have it."""
    if isinstance(value, list):
        return "".join(item for item in value if isinstance(item, str))
    return value if isinstance(value, str) else ""


def _list(value: Any, key: str) -> list[Any]:
    found = value.get(key) if isinstance(value, dict) else None
    return found if isinstance(found, list) else []


def _object(value: Any, key: str) -> dict[str, Any]:
    found = value.get(key) if isinstance(value, dict) else None
    return found if isinstance(found, dict) else {}
