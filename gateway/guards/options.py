"""What the settings of each check may hold, and what is wrong with a guard, in words. Pure."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from gateway.guards import credentials, personal
from gateway.guards.findings import Action, Place
from gateway.guards.verdicts import FORMS
from gateway.guards.wordlist import wordlist
from knowledge.signals import LABELS

Schema = Mapping[str, Any]
REFUSAL = "[Withheld by a guard rail of this service.]"
"""What is said in the place of an answer, or of the rest of one; settings may have other words, or none."""

_WORDS: Schema = {"type": "array", "items": {"type": "string", "pattern": r"\S", "maxLength": 1_000}, "maxItems": 5_000}
_COMMON: Schema = {"refusal": {"type": "string", "maxLength": 2_000}}
_RESTORE: Schema = {"restore": {"type": "boolean"}}
_FAIL: Schema = {"fail": {"enum": ["open", "closed"]}}


def _some_of(names: Collection[str]) -> Schema:
    return {"type": "array", "items": {"enum": list(names)}, "minItems": 1, "uniqueItems": True}


def _whole(minimum: int) -> Schema:
    return {"type": "integer", "minimum": minimum, "maximum": 1_000_000_000}


PROPERTIES: Mapping[str, Schema] = {
    "size": {"characters": _whole(1), "tokens": _whole(1)},
    "language": {
        "languages": {"type": "array", "items": {"type": "string", "pattern": "^[a-z]{2}$"}, "minItems": 1},
    },
    "secrets": {"kinds": _some_of(credentials.KINDS), **_RESTORE},
    "personal": {"kinds": _some_of(personal.KINDS), **_RESTORE},
    "injection": {"signals": _some_of(LABELS)},
    "words": {
        "words": _WORDS,
        "patterns": {**_WORDS, "maxItems": 100},
        "mask": {"type": "string", "pattern": "^[A-Z][A-Z_]{0,30}$"},
        **_RESTORE,
        **_FAIL,
    },
    "expert": {
        "prompt": {"type": "string", "maxLength": 20_000},
        "verdict": {"enum": list(FORMS)},
        "categories": _WORDS,
        "seconds": {"type": "number", "exclusiveMinimum": 0, "maximum": 600},
        "turns": _whole(1),
        **_FAIL,
    },
}
ONE_OF: Mapping[str, tuple[str, ...]] = {
    "size": ("characters", "tokens"),
    "language": ("languages",),
    "words": ("words", "patterns"),
}
"""Settings of which a check needs at least one."""
EXAMPLES: Mapping[str, str] = {
    "size": '{"characters": 50000}',
    "language": '{"languages": ["en", "de"]}',
    "secrets": '{"kinds": ["api_key", "private_key", "jwt", "url_password", "assignment"]}',
    "personal": '{"kinds": ["email", "phone", "iban", "card", "national_id"], "restore": true}',
    "injection": '{"signals": ["override", "exfiltration"]}',
    "words": '{"words": ["project falcon"], "patterns": ["FALCON-\\\\d+"], "mask": "PROJECT"}',
    "expert": '{"verdict": "llama-guard", "seconds": 10, "fail": "closed"}',
}
# Where a check makes sense, and whether it can point at what it found.
PLACES: Mapping[str, frozenset[Place]] = {
    "size": frozenset({Place.INPUT}),
    "injection": frozenset({Place.RETRIEVED}),
}
POINTING = frozenset({"secrets", "personal", "words"})


def settings_of(check: str) -> tuple[str, ...]:
    """Return the names of what a check can be told."""
    return (*PROPERTIES[check], *_COMMON)


def problems(
    *, check: str, places: Collection[str], action: str, settings: Any, has_expert: bool
) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with a guard: the field and, in words, what to do."""
    if check not in PROPERTIES:
        yield "check_kind", "Choose a check."
        return
    yield from _misplaced(check, places, action)
    if has_expert != (check == "expert"):
        yield (
            "expert",
            "Choose who judges." if check == "expert" else "Only the check “expert” asks one; leave it empty.",
        )
    faults = list(_faults(check, settings))
    yield from (("settings", fault) for fault in faults)
    if not faults and settings.get("restore") and not (action == Action.MASK and Place.INPUT in places):
        yield "settings", "“restore” gives clients back what was masked in what they sent: mask, and choose input."


def _misplaced(check: str, places: Collection[str], action: str) -> Iterator[tuple[str, str]]:
    able = PLACES.get(check, frozenset(Place))
    if not places:
        yield "places", "Choose at least one place."
    elif wrong := [place for place in places if place not in able]:
        yield "places", f"The check “{check}” looks at {', '.join(sorted(able))} only, not at {', '.join(wrong)}."
    elif action == Action.MASK and check not in POINTING and any(place != Place.RETRIEVED for place in places):
        yield (
            "action",
            f"The check “{check}” judges a whole text and cannot tell what in it to mask. Log or refuse; only what is "
            "retrieved can be left out.",
        )


def _faults(check: str, settings: Any) -> Iterator[str]:
    from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

    known = {**PROPERTIES[check], **_COMMON}
    if not isinstance(settings, dict):
        yield f"Enter a JSON object, such as {EXAMPLES[check]}."
        return
    if unknown := [name for name in settings if name not in known]:
        yield f"The check “{check}” knows no {_quoted(unknown)}; it knows {_quoted(known)}."
    if (wanted := ONE_OF.get(check)) and not any(settings.get(name) for name in wanted):
        yield f"The check “{check}” needs {' or '.join(map(_quote, wanted))}, such as {EXAMPLES[check]}."
    for error in Draft202012Validator({"type": "object", "properties": known}).iter_errors(settings):
        yield f"{'.'.join(map(str, error.absolute_path))}: {_said(error)}."
    if check == "words":
        yield from _unusable_patterns(settings.get("patterns"))


def _said(error: Any) -> str:
    """Return in words what a schema says is wrong."""
    if error.validator == "enum":
        return f"{error.instance!r} is not one of {_quoted(error.validator_value)}"
    if error.validator == "pattern" and error.validator_value == "^[a-z]{2}$":
        return f"{error.instance!r} is no code of a language such as en"
    if error.validator == "pattern" and error.validator_value == r"\S":
        return "it is empty"
    return str(error.message).rstrip(".")[:300]


def _unusable_patterns(patterns: Any) -> Iterator[str]:
    for pattern in patterns if isinstance(patterns, list) else ():
        try:
            wordlist((), (pattern,), "WORD") if isinstance(pattern, str) else None
        except ValueError as error:
            yield f"patterns: {error}"


def _quoted(names: Collection[Any]) -> str:
    return ", ".join(map(_quote, names))


def _quote(name: Any) -> str:
    return f"“{name}”"
