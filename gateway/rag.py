"""What a client says of grounding: ``use_rag``, ``rag_collections`` and ``rag``, from their JSON. Pure."""

from collections.abc import Mapping
from typing import Any

from gateway.fields import Fields, invalid
from knowledge.filters import InvalidFilter, parse, to_json
from knowledge.passages import Mode
from routing.backends.protocol import Grounding, Json

MOST_COLLECTIONS = 20
MOST_PASSAGES = 50


def read_grounding(fields: Fields) -> tuple[Grounding | None, list[str]]:
    """Return what is wanted (None where nothing is said), and the names inside ``rag`` that nobody reads.

    What stands inside ``rag`` beats the parameters beside it. Raises BadRequest.
    """
    switch = fields.flag("use_rag")
    named = _slugs(fields.raw("rag_collections"), "rag_collections")
    given: bool | Mapping[str, Any] | None = fields.get("rag", (bool, dict), "true, false or an object")
    if isinstance(given, bool):
        if switch is not None and switch is not given:
            raise invalid("use_rag", "'use_rag' says the opposite of 'rag'. Leave one of them out.")
        switch, given = given, None
    if given is None:
        wanted = bool(named) if switch is None else switch
        return (None if switch is None and not named else Grounding(wanted=wanted, collections=named)), []
    if switch is False:
        raise invalid("use_rag", "'use_rag' is false, but 'rag' says how to ground the answer. Leave one of them out.")
    inside = Fields(given)
    grounding = Grounding(
        collections=_slugs(inside.raw("collections"), "rag.collections") or named,
        top_k=_top_k(inside),
        filters=_filters(inside.raw("filters")),
        mode=_mode(inside.raw("mode")),
        condense=_condense(inside.raw("condense")),
    )
    return grounding, [f"rag.{name}" for name in inside.unseen()]


def _slugs(value: Any, where: str) -> tuple[str, ...]:
    given = [value] if isinstance(value, str) else value
    if given is None:
        return ()
    if not isinstance(given, list) or not all(isinstance(slug, str) and slug for slug in given):
        raise invalid(where, f"'{where}' must be a list of collections' names, such as [\"handbook\"].")
    if len(given) > MOST_COLLECTIONS:
        raise invalid(where, f"'{where}' names {len(given)} collections; {MOST_COLLECTIONS} are the most.")
    return tuple(dict.fromkeys(given))


def _top_k(inside: Fields) -> int | None:
    value = inside.raw("top_k")
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MOST_PASSAGES:
        raise invalid("rag.top_k", f"'rag.top_k' must be a whole number from 1 to {MOST_PASSAGES}.")
    return value


def _filters(value: Any) -> Json | None:
    if value is None:
        return None
    try:
        return to_json(parse(value, place="'rag.filters'"))
    except InvalidFilter as error:
        raise invalid("rag.filters", str(error)) from error


def _mode(value: Any) -> str | None:
    if value is not None and value not in tuple(Mode):
        raise invalid("rag.mode", f"'rag.mode' must be one of {', '.join(Mode)}.")
    mode: str | None = value
    return mode


def _condense(value: Any) -> bool:
    if not isinstance(value, bool | None):
        raise invalid("rag.condense", "'rag.condense' must be true or false.")
    return value is not False
