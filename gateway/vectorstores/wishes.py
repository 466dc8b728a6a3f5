"""What clients say of stores and of files in them, read from their JSON and held to OpenAI's limits. Pure."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.fields import Fields, invalid, unsupported
from gateway.ragapi.metadata import is_storable
from gateway.ragapi.serializers import checked_text
from knowledge.attributes import Attribute
from knowledge.filing import OwnCut

MOST_PAIRS, LONGEST_KEY, LONGEST_VALUE = 16, 64, 512
LONGEST_NAME, LONGEST_DESCRIPTION = 200, 2000
MOST_DAYS = 3650
FEWEST_TOKENS, MOST_TOKENS = 100, 4096
KEPT_TOKENS, KEPT_OVERLAP = 2000, 400
"""What a collection may have; a wish beyond it is lowered, and the answer says to what."""
MOST_FILES = 2000
AUTO: OwnCut = (None, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Addition:
    """A file that is to be in a store; ``place`` is where the request names it, such as file_ids[3].

    ``attributes`` and ``cut`` of None leave what it has, where it is there already.
    """

    place: str
    file_id: str
    attributes: Mapping[str, Attribute] | None = None
    cut: OwnCut | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreWish:
    """A store that is to be made; ``cut`` is how its files are cut."""

    name: str = ""
    description: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    days: int | None = None
    cut: OwnCut = AUTO
    additions: tuple[Addition, ...] = ()


def read_store(fields: Fields) -> StoreWish:
    """Read what a new store is to be; raises BadRequest."""
    return StoreWish(
        name=checked_text(fields.text("name") or "", "name", LONGEST_NAME).strip(),
        description=checked_text(fields.text("description") or "", "description", LONGEST_DESCRIPTION),
        metadata=read_metadata(fields),
        days=read_days(fields),
        cut=read_cut(fields) or AUTO,
        additions=_named(fields, attributes=None, cut=None),
    )


def read_addition(fields: Fields, place: str = "file_id") -> Addition:
    """Read which file is to be in a store, and how; raises BadRequest."""
    file_id = fields.text("file_id")
    if not file_id:
        raise invalid("file_id", "'file_id' is missing. POST /v1/files uploads a file and answers its id.")
    return Addition(place=place, file_id=file_id, attributes=read_attributes(fields), cut=read_cut(fields))


def read_batch(fields: Fields) -> tuple[tuple[Addition, ...], tuple[str, ...]]:
    """Read which files are to be in a store, and the names inside ``files`` that nobody reads; raises BadRequest."""
    files = fields.array("files")
    if files is None:
        found = _named(fields, attributes=read_attributes(fields), cut=read_cut(fields))
        if not found:
            raise invalid("file_ids", "Send the ids of files as 'file_ids', or 'files', each with its own attributes.")
        return found, ()
    for name in ("file_ids", "attributes", "chunking_strategy"):
        if fields.raw(name) is not None:
            raise invalid(name, f"'{name}' cannot stand beside 'files'. Say it of each file there.")
    _check_number(files, "files")
    ignored: dict[str, None] = {}
    return tuple(_one(value, f"files[{number}]", ignored) for number, value in enumerate(files)), tuple(ignored)


def _one(value: Any, place: str, ignored: dict[str, None]) -> Addition:
    if not isinstance(value, dict):
        raise invalid(place, f"'{place}' must be an object with 'file_id'.")
    inside = Fields(value)
    addition = read_addition(inside, place=f"{place}.file_id")
    ignored.update(dict.fromkeys(f"files.{name}" for name in inside.unseen()))
    return addition


def _named(fields: Fields, *, attributes: Mapping[str, Attribute] | None, cut: OwnCut | None) -> tuple[Addition, ...]:
    ids = fields.array("file_ids") or []
    _check_number(ids, "file_ids")
    if not all(isinstance(one, str) and one for one in ids):
        raise invalid("file_ids", "'file_ids' must be a list of files' ids, as POST /v1/files answers them.")
    return tuple(
        Addition(place=f"file_ids[{number}]", file_id=one, attributes=attributes, cut=cut)
        for number, one in enumerate(ids)
    )


def _check_number(files: list[Any], where: str) -> None:
    if len(files) > MOST_FILES:
        raise invalid(where, f"'{where}' holds {len(files):,}; {MOST_FILES:,} are the most at once.")


def read_metadata(fields: Fields) -> dict[str, str]:
    """Read up to 16 texts by their names; raises BadRequest."""
    value = fields.raw("metadata")
    pairs = _pairs({} if value is None else value, "metadata")
    if wrong := next((name for name, one in pairs.items() if not isinstance(one, str)), None):
        raise invalid("metadata", f"'metadata.{wrong}' must be a text.")
    return pairs


def read_attributes(fields: Fields) -> dict[str, Attribute] | None:
    """Read up to 16 texts, numbers and flags by their names; None where nothing is said. Raises BadRequest."""
    value = fields.raw("attributes")
    if value is None:
        return None
    pairs = _pairs(value, "attributes")
    for name, one in pairs.items():
        if not isinstance(one, str | int | float) or (isinstance(one, float) and not math.isfinite(one)):
            raise invalid("attributes", f"'attributes.{name}' must be a text, a number or a flag.")
        if "." in name or not name:
            raise invalid("attributes", f"'{name}' cannot be an attribute: filters take a dot for a step into it.")
    return pairs


def _pairs(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise invalid(where, f'\'{where}\' must be an object, such as {{"author": "Jo"}}.')
    if len(value) > MOST_PAIRS:
        raise invalid(where, f"'{where}' has {len(value)} entries; {MOST_PAIRS} are the most.")
    for name, one in value.items():
        if len(name) > LONGEST_KEY or not is_storable(name):
            raise invalid(where, f"A name in '{where}' has up to {LONGEST_KEY} characters, and text alone.")
        if isinstance(one, str) and (len(one) > LONGEST_VALUE or not is_storable(one)):
            raise invalid(where, f"'{where}.{name}' has up to {LONGEST_VALUE} characters, and text alone.")
    return value


def read_days(fields: Fields) -> int | None:
    """Read after how many days without use a store expires; None: never. Raises BadRequest."""
    given = fields.object("expires_after")
    if given is None:
        return None
    inside = Fields(given, inside="expires_after")
    if inside.text("anchor") != "last_active_at":
        raise invalid("expires_after.anchor", "'expires_after.anchor' must be last_active_at.")
    days = _inside(inside, "expires_after", "days", 1, MOST_DAYS)
    _check_known(inside, "expires_after")
    return days


def read_cut(fields: Fields) -> OwnCut | None:
    """Read how files are to be cut; None where nothing is said. Raises BadRequest."""
    given = fields.object("chunking_strategy")
    if given is None:
        return None
    inside = Fields(given, inside="chunking_strategy")
    kind = inside.text("type")
    if kind not in ("auto", "static"):
        raise invalid("chunking_strategy.type", "'chunking_strategy.type' must be auto or static.")
    static = inside.object("static")
    _check_known(inside, "chunking_strategy")
    if kind == "auto":
        return AUTO
    if static is None:
        raise invalid("chunking_strategy.static", "'chunking_strategy.static' is missing.")
    sizes, place = Fields(static), "chunking_strategy.static"
    tokens = _inside(sizes, place, "max_chunk_size_tokens", FEWEST_TOKENS, MOST_TOKENS)
    overlap = _inside(sizes, place, "chunk_overlap_tokens", 0, MOST_TOKENS)
    _check_known(sizes, place)
    if overlap * 2 > tokens:
        name = f"{place}.chunk_overlap_tokens"
        raise invalid(name, f"'{name}' may be half of 'max_chunk_size_tokens' at most.")
    return tokens, overlap


def kept_cut(cut: OwnCut) -> OwnCut:
    """Return what is kept of a wish for how to cut."""
    tokens, overlap = cut
    return cut if tokens is None or overlap is None else (min(tokens, KEPT_TOKENS), min(overlap, KEPT_OVERLAP))


def _inside(fields: Fields, place: str, name: str, low: int, high: int) -> int:
    value = fields.raw(name)
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise invalid(f"{place}.{name}", f"'{place}.{name}' must be a whole number from {low} to {high:,}.")
    return value


def _check_known(fields: Fields, place: str) -> None:
    if strange := next(iter(fields.unseen()), None):
        raise unsupported(f"{place}.{strange}", f"'{place}' has a field '{strange[:100]}' that nobody here reads.")
