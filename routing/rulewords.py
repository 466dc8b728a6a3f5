"""A rule in words. Pure."""

from collections.abc import Iterator, Sequence

from routing.conditions import WEEKDAYS, has_window, window
from routing.rules import Rule

_SHOWN_WORDS = 6


def conditions_in_words(rule: Rule) -> str:
    """Return when ``rule`` fits, in a line, for example “any of code, bug; no image; language de”."""
    return "; ".join(_conditions(rule)) or "always"


def _conditions(rule: Rule) -> Iterator[str]:
    yield from _word_conditions(rule)
    yield from _request_conditions(rule)
    yield from _evidence_conditions(rule)
    yield from _asker_conditions(rule)
    if rule.weekdays:
        yield "on " + ", ".join(WEEKDAYS[day][:3] for day in sorted(rule.weekdays) if day < len(WEEKDAYS))
    if has_window(rule):
        yield window(rule)


def _request_conditions(rule: Rule) -> Iterator[str]:
    for name, yes, no in (
        ("has_images", "an image", "no image"),
        ("has_tools", "tools", "no tools"),
        ("wants_json", "wants JSON", "wants no JSON"),
    ):
        if (wanted := getattr(rule, name)) is not None:
            yield yes if wanted else no
    if rule.min_tokens is not None:
        yield f"at least {rule.min_tokens} tokens"
    if rule.max_tokens is not None:
        yield f"at most {rule.max_tokens} tokens"
    if rule.languages:
        yield f"language {_some(rule.languages, 'or')}"


def _evidence_conditions(rule: Rule) -> Iterator[str]:
    if rule.min_evidence is not None:
        yield f"evidence of {rule.min_evidence:g} in {_some(rule.evidence_from, 'or')}"


def _asker_conditions(rule: Rule) -> Iterator[str]:
    for what, names in (
        ("API key", rule.keys),
        ("group", rule.groups),
        ("profile", sorted(rule.profiles)),
    ):
        if names:
            yield f"{what} {_some(names, 'or')}"
    for what, values in (("header", rule.headers), ("metadata", rule.metadata)):
        for name, value in values.items():
            yield f"{what} {name}: {value}"


def _word_conditions(rule: Rule) -> Iterator[str]:
    where = {"instruction": " in the instruction", "conversation": " in the conversation"}.get(rule.look_in, "")
    if rule.keywords:
        yield f"{'any of ' if len(rule.keywords) > 1 else ''}{_some(rule.keywords)}{where}"
    if rule.all_keywords:
        yield f"all of {_some(rule.all_keywords)}{where}"
    if rule.none_keywords:
        yield f"none of {_some(rule.none_keywords)}{where}"
    if rule.pattern:
        yield f"matches {rule.pattern}{where}"


def actions_in_words(rule: Rule) -> str:
    """Return what ``rule`` does, in a line, for example “code answers; temperature 0; stops”."""
    return "; ".join(_actions(rule))


def _actions(rule: Rule) -> Iterator[str]:
    if rule.expert:
        yield f"{rule.expert} answers"
    if rule.candidates:
        yield f"only {_some(rule.candidates, 'or')} may answer"
    if rule.collections:
        yield f"grounded in {', '.join(rule.collections)}"
    for name, value in rule.overrides.items():
        yield f"{name} {value}"
    if rule.system_mode:
        yield {"insert": "system text where there is none", "append": "system text added"}.get(
            rule.system_mode, "system text replaced"
        )
    if rule.interrupts:
        yield "moves conversations"
    yield "stops" if rule.stop else "goes on"


def _some(words: Sequence[str], last: str = "") -> str:
    if len(words) > _SHOWN_WORDS:
        return f"{', '.join(words[:_SHOWN_WORDS])} … ({len(words)})"
    return f" {last} ".join(words) if last else ", ".join(words)


def quoted(words: Sequence[str]) -> str:
    return _some([f"“{word}”" for word in words])
