"""JSON and JSON lines as text: a line a value, with the path that leads to it."""

import json
from collections.abc import Iterator
from typing import Any

from knowledge.parsing.draft import Draft
from knowledge.parsing.encoding import decode
from knowledge.parsing.failure import ParseFailed
from knowledge.parsing.plain import write_plain
from knowledge.parsing.source import Source

MOST_RECORDS = 200_000
DEEPEST_RECORDS = 4  # levels of objects around a list of records
DEEPEST = 60  # levels; below them a value is written as JSON


def read(source: Source, draft: Draft) -> None:
    """Write JSON or JSON lines into ``draft``: of a list of objects a block each. Raises ParseFailed."""
    text = decode(source.data, source.charset)
    try:
        value = load_json(text)
    except ValueError:
        records = list(_lines(text, draft))
        if records:
            write_value(records, draft)
        else:
            draft.warn("The file is called JSON and is none; it was read as plain text.")
            write_plain(text, draft)
        return
    write_value(value, draft)


def load_json(text: str) -> Any:
    """Return the value in ``text``, its numbers as they are written; raises ValueError, ParseFailed if it nests on."""
    try:
        return json.loads(text, parse_int=str, parse_float=str, parse_constant=str)
    except RecursionError as error:
        raise ParseFailed("broken", "The JSON nests too deeply to be read. Flatten it and upload it again.") from error


def write_value(value: Any, draft: Draft, level: int = 1) -> None:
    """Write ``value`` into ``draft``: lists of records a block a record, under the names that lead to them."""
    if _is_records(value):
        _write_records(value, draft)
    elif isinstance(value, dict) and any(_holds_records(member) for member in value.values()):
        _write_record({key: member for key, member in value.items() if not _holds_records(member)}, draft)
        for key, member in value.items():
            if _holds_records(member):
                draft.heading(str(key), level)
                write_value(member, draft, level + 1)
    else:
        _write_record(value, draft)


def _is_records(value: Any) -> bool:
    return isinstance(value, list) and len(value) > 1 and all(isinstance(item, dict | list) for item in value)


def _holds_records(value: Any, depth: int = 0) -> bool:
    if isinstance(value, dict):
        return depth < DEEPEST_RECORDS and any(_holds_records(member, depth + 1) for member in value.values())
    return _is_records(value)


def _write_records(records: list[Any], draft: Draft) -> None:
    for record in records[:MOST_RECORDS]:
        _write_record(record, draft)
    if len(records) > MOST_RECORDS:
        draft.warn(f"Only the first {MOST_RECORDS:,} of {len(records):,} records were read.")


def _write_record(record: Any, draft: Draft) -> None:
    draft.text("\n".join(path_lines(record)))


def path_lines(value: Any, path: str = "", depth: int = 0) -> Iterator[str]:
    """Yield ``value`` as lines "path: value"; a list of plain values is one line."""
    if depth > DEEPEST:
        yield f"{path}: {json.dumps(value, ensure_ascii=False)}"
    elif isinstance(value, dict):
        for key, member in value.items():
            yield from path_lines(member, f"{path}.{key}" if path else str(key), depth + 1)
    elif isinstance(value, list):
        yield from _list_lines(value, path, depth)
    elif value is not None and value != "":
        yield f"{path}: {_said(value)}" if path else _said(value)


def _said(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _list_lines(values: list[Any], path: str, depth: int) -> Iterator[str]:
    if not any(isinstance(item, dict | list) for item in values):
        said = ", ".join(_said(item) for item in values if item not in (None, ""))
        if said:
            yield f"{path}: {said}" if path else said
        return
    for number, item in enumerate(values, start=1):
        yield from path_lines(item, f"{path}[{number}]", depth + 1)


def _lines(text: str, draft: Draft) -> Iterator[Any]:
    """Yield the values of JSON lines; nothing when most lines hold none."""
    found, bad = [], 0
    for line in text.splitlines():
        if not line.strip():
            continue
        try:
            found.append(load_json(line))
        except ValueError:
            bad += 1
        if bad > 10 + len(found):
            return
    if bad and found:
        draft.warn(f"{bad:,} lines hold no valid JSON and were left out.")
    if len(found) > bad:
        yield from found
