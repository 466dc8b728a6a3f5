"""What a client says of a document, held to what can be kept and filtered by. Pure."""

import json
import math
from collections.abc import Iterator
from typing import Any

from gateway.fields import invalid

MOST_KEYS = 64
LONGEST_KEY = 128
LARGEST = 16 * 1024
"""Bytes of the whole as JSON."""
DEEPEST = 8


def checked_metadata(value: Any, where: str) -> dict[str, Any]:
    """Return ``value`` if it may be a document's metadata; raises BadRequest, which names ``where``."""
    if not isinstance(value, dict):
        raise invalid(where, f'\'{where}\' must be an object, such as {{"author": "Jo", "year": 2024}}.')
    if len(value) > MOST_KEYS:
        raise invalid(where, f"'{where}' has {len(value)} keys; {MOST_KEYS} are the most.")
    for one, depth in _walk(value, 1):
        if depth > DEEPEST:
            raise invalid(where, f"'{where}' is nested too deeply; {DEEPEST} levels are the most.")
        if isinstance(one, str) and not is_storable(one):
            raise invalid(where, f"'{where}' has characters that no text can have (NUL, or half of a surrogate pair).")
        if isinstance(one, float) and not math.isfinite(one):
            raise invalid(where, f"'{where}' holds a number that JSON does not have (NaN or Infinity).")
    if longest := next((key for key in value if len(key) > LONGEST_KEY), None):
        raise invalid(where, f"'{where}' has a key of {len(longest)} characters; {LONGEST_KEY} are the most.")
    size = len(json.dumps(value, ensure_ascii=False).encode())
    if size > LARGEST:
        raise invalid(where, f"'{where}' has {size:,} bytes as JSON; {LARGEST:,} are the most.")
    return value


def is_storable(text: str) -> bool:
    """Tell whether the database can hold ``text``."""
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def _walk(value: Any, depth: int) -> Iterator[tuple[Any, int]]:
    """Yield every key and value in ``value``, each with how deep it is; no deeper than one level too many."""
    yield value, depth
    if depth > DEEPEST:
        return
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key, depth
            yield from _walk(inner, depth + isinstance(inner, dict | list))
    elif isinstance(value, list):
        for inner in value:
            yield from _walk(inner, depth + isinstance(inner, dict | list))
