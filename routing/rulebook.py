"""What is wrong with a list of rules. Pure."""

import datetime as dt
import functools
import re
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import combinations

from routing.conditions import has_window
from routing.keywords import Phrases, Words, wildcard_fits
from routing.rules import Rule
from routing.rulewords import quoted

LANGUAGE = re.compile(r"[a-z]{2,3}\Z", re.IGNORECASE)
_REACH = {"instruction": 0, "message": 1, "conversation": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something about ``rule`` that is surely or likely not meant.

    ``kind`` is one of unreachable, conflict, unconditional, expert, language, window, tokens, pattern.
    """

    rule: Rule
    kind: str
    message: str


def check(rules: Sequence[Rule], *, disabled_experts: AbstractSet[str] = frozenset()) -> tuple[Finding, ...]:
    """Return what is wrong with ``rules`` (in the order they are tried); those that are disabled are left out."""
    enabled = [rule for rule in rules if rule.enabled]
    findings = [finding for rule in enabled for finding in _of_one(rule, disabled_experts)]
    findings += [_unconditional(rule) for rule in enabled[:-1] if rule.is_unconditional and (rule.stop or rule.expert)]
    findings += _of_pairs(enabled)
    place = {rule.id: position for position, rule in enumerate(enabled)}
    return tuple(sorted(findings, key=lambda finding: place[finding.rule.id]))


# --- one rule ---------------------------------------------------------------------------------------------------


def _of_one(rule: Rule, disabled_experts: AbstractSet[str]) -> Iterator[Finding]:
    def found(kind: str, message: str) -> Finding:
        return Finding(rule=rule, kind=kind, message=f"“{rule.name}” {message}")

    if rule.expert in disabled_experts:
        yield found("expert", f"is not used: its expert {rule.expert} is disabled.")
    if gone := [slug for slug in rule.candidates if slug in disabled_experts]:
        yield found("expert", f"names candidates that are disabled: {', '.join(gone)}.")
    if strange := [code for code in rule.languages if not LANGUAGE.match(code)]:
        yield found("language", f"never fits for {quoted(strange)}: a language is two or three letters, such as en.")
    if rule.from_time is not None and rule.from_time == rule.until_time:
        yield found("window", f"has a window that ends when it begins, at {rule.from_time:%H:%M}.")
    if rule.min_tokens is not None and rule.max_tokens is not None and rule.min_tokens > rule.max_tokens:
        yield found("tokens", f"never fits: it wants {rule.min_tokens} tokens and more, but {rule.max_tokens} at most.")
    if rule.compiled.expression_error:
        yield found("pattern", f"never fits: its regular expression cannot be read ({rule.compiled.expression_error}).")


def _unconditional(rule: Rule) -> Finding:
    consequence = "no later rule is ever tried" if rule.stop else f"{rule.expert} always answers"
    return Finding(
        rule=rule,
        kind="unconditional",
        message=f"“{rule.name}” has no condition, so {consequence}. Give it one, or put it last.",
    )


# --- two rules --------------------------------------------------------------------------------------------------


def _of_pairs(rules: Sequence[Rule]) -> Iterator[Finding]:
    unreachable: set[int] = set()
    for earlier, later in combinations(rules, 2):
        if later.id in unreachable:
            continue
        if earlier.stop and is_implied(earlier, later):
            unreachable.add(later.id)
            yield Finding(rule=later, kind="unreachable", message=_never(earlier, later))
        elif earlier.expert and later.expert and earlier.expert != later.expert:
            yield from _conflict(earlier, later)


def _never(earlier: Rule, later: Rule) -> str:
    when = "is never tried"
    if earlier.chooses:
        when = f"is tried only when {' and '.join(_named_by(earlier))} cannot take the request"
    reason = "which has no condition" if earlier.is_unconditional else "which fits whenever this one would, and stops"
    return f"“{later.name}” {when}: “{earlier.name}” comes first, {reason}."


def _named_by(rule: Rule) -> Sequence[str]:
    return (rule.expert,) if rule.expert else rule.candidates


def _conflict(earlier: Rule, later: Rule) -> Iterator[Finding]:
    words = _taken(earlier, later)
    if words and _can_both_fit(earlier, later):
        what = f"share {quoted(words)}"
    elif not words and is_implied(earlier, later) and is_implied(later, earlier):
        what = "have the same conditions"
    else:
        return
    yield Finding(
        rule=later,
        kind="conflict",
        message=f"“{later.name}” and “{earlier.name}” {what} but name different experts; {earlier.expert} answers, "
        f"as “{earlier.name}” comes first.",
    )


def _taken(earlier: Rule, later: Rule) -> list[str]:
    """Return the keywords of ``later`` in which ``earlier`` finds one of its own."""
    if not earlier.keywords:
        return []
    return [word for word in later.keywords if word.strip() and earlier.compiled.any.first(_words(word)) is not None]


def _can_both_fit(one: Rule, other: Rule) -> bool:
    """Return False where two rules surely exclude each other."""
    for name in ("has_images", "has_tools", "wants_json"):
        if {getattr(one, name), getattr(other, name)} == {True, False}:
            return False
    for mine, yours in (
        (one.profiles, other.profiles),
        (one.compiled.languages, other.compiled.languages),
        (one.weekdays, other.weekdays),
    ):
        if mine and yours and not set(mine) & set(yours):
            return False
    return _lowest(one) <= _highest(other) and _lowest(other) <= _highest(one) and _windows_meet(one, other)


def _windows_meet(one: Rule, other: Rule) -> bool:
    return not (has_window(one) and has_window(other)) or bool(_minutes(one) & _minutes(other))


@functools.lru_cache(maxsize=16384)
def _words(keyword: str) -> Words:
    return Words(keyword)


def _reach(rule: Rule) -> int:
    return _REACH.get(rule.look_in, 1)


def _lowest(rule: Rule) -> float:
    return rule.min_tokens or 0


def _highest(rule: Rule) -> float:
    return float("inf") if rule.max_tokens is None else rule.max_tokens


# --- one rule's conditions within another's ---------------------------------------------------------------------


def is_implied(wide: Rule, narrow: Rule) -> bool:
    """Whether ``wide`` surely fits whenever ``narrow`` does; False also where that cannot be told."""
    return all(implied(wide, narrow) for implied in _IMPLIED)


def _words_implied(wide: Rule, narrow: Rule) -> bool:
    if not (wide.keywords or wide.all_keywords):
        return True
    if _reach(wide) < _reach(narrow):
        return False
    return _any_implied(wide, narrow) and all(_demands(narrow, Phrases.of([word])) for word in wide.all_keywords)


def _any_implied(wide: Rule, narrow: Rule) -> bool:
    return not wide.keywords or _demands(narrow, wide.compiled.any)


def _demands(rule: Rule, phrases: Phrases) -> bool:
    """Whether a text in which ``rule`` finds what it looks for surely has one of ``phrases``."""
    if any(phrases.first(_words(word)) is not None for word in rule.all_keywords):
        return True
    return bool(rule.keywords) and all(
        phrases.first(_words(word)) is not None for word in rule.keywords if word.strip()
    )


def _exclusions_implied(wide: Rule, narrow: Rule) -> bool:
    if not wide.none_keywords:
        return True
    # A text without "test" is one without "unit test".
    return _reach(wide) <= _reach(narrow) and all(
        narrow.compiled.none.first(_words(word)) is not None for word in wide.none_keywords
    )


def _pattern_implied(wide: Rule, narrow: Rule) -> bool:
    return not wide.pattern or (wide.pattern == narrow.pattern and _reach(wide) >= _reach(narrow))


def _flags_implied(wide: Rule, narrow: Rule) -> bool:
    return all(
        getattr(wide, name) in (None, getattr(narrow, name)) for name in ("has_images", "has_tools", "wants_json")
    )


def _tokens_implied(wide: Rule, narrow: Rule) -> bool:
    return _lowest(wide) <= _lowest(narrow) and _highest(wide) >= _highest(narrow)


def _sets_implied(wide: Rule, narrow: Rule) -> bool:
    return _within(narrow.profiles, wide.profiles) and _within(narrow.compiled.languages, wide.compiled.languages)


def _within(narrow: AbstractSet[str], wide: AbstractSet[str]) -> bool:
    return not wide or (bool(narrow) and narrow <= wide)


def _names_implied(wide: Rule, narrow: Rule) -> bool:
    return _like(narrow.compiled.keys, wide.compiled.keys) and _like(narrow.compiled.groups, wide.compiled.groups)


def _like(narrow: Sequence[str], wide: Sequence[str]) -> bool:
    if not wide:
        return True
    # A star of the narrow pattern can only meet a star of the wide one, so what fits the one fits the other.
    return bool(narrow) and all(any(wildcard_fits(loose, strict) for loose in wide) for strict in narrow)


def _values_implied(wide: Rule, narrow: Rule) -> bool:
    headers = dict(narrow.compiled.headers)
    return all(
        name in headers and wildcard_fits(pattern, headers[name]) for name, pattern in wide.compiled.headers
    ) and all(
        name in narrow.metadata and wildcard_fits(str(pattern), str(narrow.metadata[name]))
        for name, pattern in wide.metadata.items()
    )


def _evidence_implied(wide: Rule, narrow: Rule) -> bool:
    if wide.min_evidence is None:
        return True
    if narrow.min_evidence is None or narrow.min_evidence < wide.min_evidence:
        return False
    # Strong evidence in one of a few is strong evidence in one of more.
    return set(narrow.evidence_from) <= set(wide.evidence_from)


def _time_implied(wide: Rule, narrow: Rule) -> bool:
    if wide.weekdays:
        # After midnight a window belongs to the day before: days compare only where the windows do.
        same_window = (wide.from_time, wide.until_time) == (narrow.from_time, narrow.until_time)
        if not (narrow.weekdays and narrow.weekdays <= wide.weekdays and (same_window or not has_window(wide))):
            return False
        if not same_window and _passes_midnight(narrow):
            return False
    return not has_window(wide) or _minutes(narrow) <= _minutes(wide)


def _passes_midnight(rule: Rule) -> bool:
    return rule.until_time is not None and (rule.from_time or dt.time.min) >= rule.until_time


def _minutes(rule: Rule) -> frozenset[int]:
    """Return the minutes of the day in which ``rule`` can fit."""
    start = _minute(rule.from_time or dt.time.min)
    end = 24 * 60 if rule.until_time is None else _minute(rule.until_time)
    inside = range(start, end) if start < end else (*range(start, 24 * 60), *range(end))
    return frozenset(inside)


def _minute(time: dt.time) -> int:
    return time.hour * 60 + time.minute


_IMPLIED: tuple[Callable[[Rule, Rule], bool], ...] = (
    _flags_implied,
    _tokens_implied,
    _sets_implied,
    _names_implied,
    _values_implied,
    _pattern_implied,
    _words_implied,
    _exclusions_implied,
    _evidence_implied,
    _time_implied,
)
