"""Whether a text is the JSON that a client asked for. Pure, and within limits of time.

The schema is the client's and the text the model's, so neither may hold up the process: nothing is fetched for a
``$ref``, patterns have a time limit (Python's own ``re`` has none), and so has the whole.
"""

import functools
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any, NoReturn

import jsonschema_specifications  # type: ignore[import-untyped]
import referencing
import referencing.exceptions
import referencing.jsonschema
import regex  # type: ignore[import-untyped]
from jsonschema import Draft202012Validator, SchemaError, ValidationError, validators  # type: ignore[import-untyped]

from routing.backends import codec

LARGEST_SCHEMA = 64 * 1024  # bytes; checking one takes half a second
SECONDS = 1.0
PATTERN_SECONDS = 0.1
LONGEST_FAULT = 500  # characters

_deadline: ContextVar[float] = ContextVar("deadline")
# Keywords whose value holds schemas by name, and those whose value holds no schema at all.
NAMED = ("properties", "$defs", "definitions", "dependentSchemas")
PLAIN = ("enum", "const", "default", "examples", "required", "dependentRequired")


class BadSchema(ValueError):
    """A schema that nothing can be checked against; the message is fit for a client."""


def checked(schema: Mapping[str, Any]) -> None:
    """Raise BadSchema unless answers can be checked against ``schema``."""
    _validator(codec.dumps(schema))


def fault(text: str, schema: Mapping[str, Any] | None) -> str | None:
    """Return what is wrong with ``text`` as JSON of ``schema`` (None: as any JSON object), or None.

    Raises BadSchema.
    """
    try:
        value = json.loads(text, parse_constant=_no_constant)
    except RecursionError:
        return "it is nested too deeply"
    except ValueError as error:
        return f"it is not JSON: {error}"
    if schema is None:
        return None if isinstance(value, dict) else "it is JSON, but not an object"
    validator = _validator(codec.dumps(schema))
    token = _deadline.set(time.monotonic() + SECONDS)
    try:
        found = next(validator.iter_errors(value), None)
    except (RecursionError, TimeoutError, referencing.exceptions.Unresolvable, regex.error) as failed:
        raise BadSchema("it cannot be checked within the limits of time and depth") from failed
    finally:
        _deadline.reset(token)
    return None if found is None else f"at {found.json_path}: {found.message}"[:LONGEST_FAULT]


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a value of JSON")


@functools.lru_cache(maxsize=64)
def _validator(raw: bytes) -> Any:
    if len(raw) > LARGEST_SCHEMA:
        raise BadSchema(f"it is larger than {LARGEST_SCHEMA:,} bytes")
    schema = codec.loads(raw)
    try:
        Draft202012Validator.check_schema(schema)
        for part in _subschemas(schema):
            _check_part(part, schema)
    except SchemaError as error:
        raise BadSchema(f"at {error.json_path}: {error.message}"[:LONGEST_FAULT]) from error
    except RecursionError as error:
        raise BadSchema("it is nested too deeply") from error
    return TimedValidator(schema, registry=jsonschema_specifications.REGISTRY)


def _subschemas(schema: Any) -> Iterator[Mapping[str, Any]]:
    """Yield ``schema`` and every schema in it."""
    if isinstance(schema, list):
        for item in schema:
            yield from _subschemas(item)
    elif isinstance(schema, dict):
        yield schema
        for name, value in schema.items():
            if name in NAMED and isinstance(value, dict):
                yield from _subschemas(list(value.values()))
            elif name not in PLAIN:
                yield from _subschemas(value)


def _check_part(part: Mapping[str, Any], schema: Mapping[str, Any]) -> None:
    if "patternProperties" in part:
        raise BadSchema("'patternProperties' cannot be checked; leave it, or 'strict', out")
    for name in ("$ref", "$dynamicRef"):
        if isinstance(ref := part.get(name), str):
            _check_reference(ref, schema)
    if isinstance(pattern := part.get("pattern"), str):
        try:
            regex.compile(pattern)
        except regex.error as error:
            raise BadSchema(f"the pattern {pattern!r} is none: {error}") from error


def _check_reference(ref: str, schema: Mapping[str, Any]) -> None:
    resource = referencing.jsonschema.DRAFT202012.create_resource(schema)
    resolver = jsonschema_specifications.REGISTRY.with_resource(resource.id() or "", resource).resolver(
        resource.id() or ""
    )
    try:
        resolver.lookup(ref)
    except referencing.exceptions.Unresolvable as error:
        raise BadSchema(f"the reference {ref!r} leads nowhere; it must be to a part of the schema") from error


# --- jsonschema with limits ----------------------------------------------------------------------------------

Keyword = Callable[[Any, Any, Any, Any], Any]


def _timed(keyword: Keyword) -> Keyword:
    """Return ``keyword`` with the deadline checked first; every step into a part of a schema is one of a keyword."""

    def timed(validator: Any, value: Any, instance: Any, schema: Any) -> Any:
        if time.monotonic() > _deadline.get():
            raise TimeoutError
        return keyword(validator, value, instance, schema)

    return timed


def _pattern(validator: Any, pattern: str, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if isinstance(instance, str) and not regex.search(pattern, instance, timeout=PATTERN_SECONDS):
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


def _unique_items(validator: Any, unique: bool, instance: Any, schema: Any) -> Iterator[ValidationError]:
    # jsonschema's own compares each item with every other one.
    if unique and isinstance(instance, list) and len({json.dumps(i, sort_keys=True) for i in instance}) < len(instance):
        yield ValidationError("it has items more than once")


TimedValidator = validators.extend(
    Draft202012Validator,
    {
        name: _timed(keyword)
        for name, keyword in (
            dict(Draft202012Validator.VALIDATORS) | {"pattern": _pattern, "uniqueItems": _unique_items}
        ).items()
    },
)
