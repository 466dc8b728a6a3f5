"""Words for JSON Schema, so that the descriptions of bodies read like what they describe. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

Schema = Mapping[str, Any]

TEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": "number"}
INTEGER: Schema = {"type": "integer"}
FLAG: Schema = {"type": "boolean"}
ANYTHING: Schema = {}
ANY_OBJECT: Schema = {"type": "object", "additionalProperties": True}
TIME: Schema = {"type": "string", "format": "date-time"}
SECONDS: Schema = {"type": "integer", "description": "Seconds since 1970."}


def ref(name: str) -> Schema:
    """Return a reference to the component ``name``."""
    return {"$ref": f"#/components/schemas/{name}"}


def described(schema: Schema, words: str) -> Schema:
    return {**schema, "description": words} if words else schema


def whole(low: int | None = None, high: int | None = None) -> Schema:
    """Return whole numbers from ``low`` to ``high``."""
    return {**INTEGER, **_bounds(low, high)}


def number(low: float | None = None, high: float | None = None) -> Schema:
    return {**NUMBER, **_bounds(low, high)}


def _bounds(low: float | None, high: float | None) -> dict[str, float]:
    return ({} if low is None else {"minimum": low}) | ({} if high is None else {"maximum": high})


def one_of(words: Iterable[str]) -> Schema:
    return {"type": "string", "enum": list(words)}


def const(word: str) -> Schema:
    return {"type": "string", "const": word}


def either(*schemas: Schema) -> Schema:
    return {"anyOf": list(schemas)}


def nullable(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def some(schema: Schema, *, most: int | None = None, fewest: int | None = None) -> Schema:
    """Return lists of what fits ``schema``."""
    found: dict[str, Any] = {"type": "array", "items": schema}
    return found | ({} if most is None else {"maxItems": most}) | ({} if fewest is None else {"minItems": fewest})


def members(properties: Mapping[str, Schema], *, required: Iterable[str] | None = None) -> Schema:
    """Return objects with ``properties``; all are required if nothing is said. Others may stand beside them."""
    names = list(properties if required is None else required)
    return {"type": "object", "properties": dict(properties)} | ({"required": names} if names else {})


def page_of(schema: Schema) -> Schema:
    """Return OpenAI's lists of what fits ``schema``."""
    some_id = nullable(either(TEXT, INTEGER))
    return members(
        {"object": const("list"), "data": some(schema), "first_id": some_id, "last_id": some_id, "has_more": FLAG}
    )


def deleted(kind: str, identity: Schema = TEXT) -> Schema:
    return members({"id": identity, "object": const(kind), "deleted": FLAG})
