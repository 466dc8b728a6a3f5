"""Rows as lines of JSON, and lines as rows whose every value is one that its column can have."""

import datetime as dt
import json
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.db.models import (
    BooleanField,
    CharField,
    DateTimeField,
    Field,
    FloatField,
    IntegerField,
    JSONField,
    TextField,
    UUIDField,
)

from knowledge.archive.tables import Table
from knowledge.exceptions import BadArchive

Row = dict[str, Any]
_KINDS: "tuple[tuple[type[Field[Any, Any]], tuple[type, ...]], ...]" = (
    (BooleanField, (bool,)),
    (FloatField, (int, float)),
    (IntegerField, (int,)),
    (CharField, (str,)),
    (TextField, (str,)),
    (DateTimeField, (str,)),
    (UUIDField, (str,)),
    (ArrayField, (list,)),
)
"""What of JSON stands for a value of a column."""
SHOWN = 80


def written(row: Mapping[str, Any]) -> bytes:
    """Return a row as a line."""
    return json.dumps(row, ensure_ascii=False, separators=(",", ":"), default=_plain).encode() + b"\n"


def parsed(line: bytes, where: str) -> Row:
    """Read a line; raises BadArchive, which names ``where`` it is."""
    try:
        row = json.loads(line, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise BadArchive(f"{where} is no JSON.") from error
    if not isinstance(row, dict):
        raise BadArchive(f"{where} is no row.")
    return row


def checked(table: Table, row: Mapping[str, Any], where: str) -> Row:
    """Return a row with the values that its columns have, or raise BadArchive.

    Columns that it does not have get their defaults: it may come from an older version.
    """
    fields = {one.name: one for one in table.fields}
    if unknown := sorted(row.keys() - fields.keys()):
        raise BadArchive(f"{where} has '{unknown[0][:SHOWN]}', which a newer version writes. Update this installation.")
    values: Row = {}
    for name, field in fields.items():
        if name in row:
            values[name] = row[name] if field.is_relation else _value(field, row[name], where)
        elif field.has_default() or field.null:
            values[name] = field.get_default()
        else:
            raise BadArchive(f"{where} lacks '{name}'.")
    return values


def reference(field: "Field[Any, Any]", value: Any, where: str) -> Any:
    """Return an id that a row refers to, or None; raises BadArchive for what is neither."""
    if value is None:
        if not field.null:
            raise BadArchive(f"{where} does not say its '{field.name}'.")
        return None
    if not isinstance(value, int | str) or isinstance(value, bool):
        raise BadArchive(f"{where} names no '{field.name}'.")
    return value


def _value(field: "Field[Any, Any]", value: Any, where: str) -> Any:
    if value is None and not field.null:
        raise BadArchive(f"{where} has no '{field.name}'.")
    if value is None:
        return None
    try:
        _check_kind(field, value)
        found = field.to_python(value)
        field.run_validators(found)
    except (ValidationError, ValueError, TypeError, OverflowError) as error:
        words = " ".join(error.messages) if isinstance(error, ValidationError) else "it is of another kind."
        raise BadArchive(f"{where}: '{field.name}' cannot be '{str(value)[:SHOWN]}': {words}") from error
    return found


def _check_kind(field: "Field[Any, Any]", value: Any) -> None:
    """Raise ValueError for a value that its column would make something else of, or that is none of its choices."""
    kinds = next((kinds for column, kinds in _KINDS if isinstance(field, column)), ())
    shape = field.default if isinstance(field, JSONField) and field.default in (dict, list) else None
    if kinds and (type(value) not in kinds or (isinstance(value, str) and "\0" in value)):
        raise ValueError(value)
    if shape and not isinstance(value, shape):
        raise ValueError(value)
    if field.choices and value not in {choice for choice, _ in field.flatchoices} and not (field.blank and value == ""):
        raise ValueError(value)


def _plain(value: Any) -> Any:
    if isinstance(value, dt.datetime):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(f"no column of the knowledge base has a {type(value).__name__}")


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is no number")
