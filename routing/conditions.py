"""The conditions that a rule can have, each tried on a request. Pure."""

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from routing.features import Asker, Features
from routing.keywords import Words, wildcard_fits

if TYPE_CHECKING:
    from routing.rules import Rule

PATTERN_SECONDS = 0.02
"""How long a regular expression may take."""

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


class Occasion:
    """A request as rules see it; its texts are prepared once for all of them."""

    __slots__ = ("_words", "asker", "features", "metadata", "now", "profile")

    def __init__(
        self, features: Features, asker: Asker, metadata: Mapping[str, Any], profile: str, now: dt.datetime
    ) -> None:
        self.features = features
        self.asker = asker
        self.metadata = metadata
        self.profile = profile
        self.now = now
        self._words: dict[str, Words] = {}

    def words(self, look_in: str) -> Words:
        # A text that is the same elsewhere (there was nothing but an instruction) is prepared once.
        text = self._text(look_in)
        found = self._words.get(text)
        if found is None:
            found = self._words[text] = Words(text)
        return found

    def _text(self, look_in: str) -> str:
        if look_in == "conversation":
            return self.features.conversation
        return self.features.instruction if look_in == "instruction" else self.features.text


Ruling = tuple[bool, str]
"""Whether a condition holds, and why, in words."""
Condition = Callable[["Rule", Occasion], Ruling]


def _profile(rule: "Rule", seen: Occasion) -> Ruling:
    if seen.profile in rule.profiles:
        return True, f"profile {seen.profile}"
    return False, f"profile is {seen.profile or 'none'}, not {either(sorted(rule.profiles))}"


def _flag(name: str, yes: str, no: str) -> Condition:
    def condition(rule: "Rule", seen: Occasion) -> Ruling:
        has = bool(getattr(seen.features, name))
        return has is getattr(rule, name), yes if has else no

    return condition


def _tokens(rule: "Rule", seen: Occasion) -> Ruling:
    tokens = seen.features.tokens
    if rule.min_tokens is not None and tokens < rule.min_tokens:
        return False, f"{tokens} tokens, not at least {rule.min_tokens}"
    if rule.max_tokens is not None and tokens > rule.max_tokens:
        return False, f"{tokens} tokens, not at most {rule.max_tokens}"
    return True, f"{tokens} tokens"


def _language(rule: "Rule", seen: Occasion) -> Ruling:
    language = seen.features.language
    if language and language.lower() in rule.compiled.languages:
        return True, f"language {language}"
    return False, f"language is {language or 'not known'}, not {either(rule.languages)}"


def _key(rule: "Rule", seen: Occasion) -> Ruling:
    return _named("API key", seen.asker.key, rule.compiled.keys, rule.keys)


def _group(rule: "Rule", seen: Occasion) -> Ruling:
    return _named("group", seen.asker.group, rule.compiled.groups, rule.groups)


def _named(what: str, name: str, patterns: Sequence[str], shown: Sequence[str]) -> Ruling:
    folded = name.casefold()
    if name and any(wildcard_fits(pattern, folded) for pattern in patterns):
        return True, f"{what} {name}"
    return False, f"{what} is {name or 'none'}, not {either(shown)}"


def _headers(rule: "Rule", seen: Occasion) -> Ruling:
    for name, pattern in rule.compiled.headers:
        value = seen.asker.headers.get(name)
        if value is None:
            return False, f"no header {name}"
        # What a header holds is not told: it may be a secret.
        if not wildcard_fits(pattern, value.casefold()):
            return False, f"header {name} is not like “{pattern}”"
    return True, f"header {', '.join(name for name, _ in rule.compiled.headers)}"


def _metadata(rule: "Rule", seen: Occasion) -> Ruling:
    for name, pattern in rule.metadata.items():
        if name not in seen.metadata:
            return False, f"no metadata {name}"
        if not wildcard_fits(str(pattern), _as_text(seen.metadata[name])):
            return False, f"metadata {name} is not like “{pattern}”"
    return True, f"metadata {', '.join(rule.metadata)}"


def _as_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _time(rule: "Rule", seen: Occasion) -> Ruling:
    """Judge weekday and time of day; after midnight, a window still belongs to the day it began on."""
    clock, weekday = seen.now.time(), seen.now.weekday()
    start, end = rule.from_time or dt.time.min, rule.until_time
    if end is None or start < end:
        within = start <= clock and (end is None or clock < end)
    else:
        within = clock >= start or clock < end
        if clock < end:
            weekday = (weekday - 1) % 7
    shown = f"{WEEKDAYS[seen.now.weekday()]} {clock:%H:%M}"
    if not within:
        return False, f"it is {clock:%H:%M}, not {window(rule)}"
    if rule.weekdays and weekday not in rule.weekdays:
        return False, f"it is {shown}, not {either([WEEKDAYS[day] for day in sorted(rule.weekdays)])}"
    return True, f"it is {shown}"


def has_window(rule: "Rule") -> bool:
    return rule.from_time is not None or rule.until_time is not None


def window(rule: "Rule") -> str:
    """Return the time of day of ``rule``, in words."""
    start = f"from {rule.from_time:%H:%M}" if rule.from_time else ""
    end = f"until {rule.until_time:%H:%M}" if rule.until_time else ""
    return f"{start} {end}".strip()


def _evidence(rule: "Rule", seen: Occasion) -> Ruling:
    found = {slug: seen.asker.evidence[slug] for slug in rule.evidence_from if slug in seen.asker.evidence}
    if not found:
        return False, f"what {either(rule.evidence_from)} holds on it is not known"
    best = max(found, key=lambda slug: found[slug])
    if found[best] < (rule.min_evidence or 0.0):
        return False, f"evidence in {best} is {found[best]:.2f}, not at least {rule.min_evidence:g}"
    return True, f"evidence in {best} is {found[best]:.2f}"


def _any_words(rule: "Rule", seen: Occasion) -> Ruling:
    found = rule.compiled.any.first(seen.words(rule.look_in))
    return (False, "found none of its keywords") if found is None else (True, f"found “{found}”")


def _all_words(rule: "Rule", seen: Occasion) -> Ruling:
    missing = rule.compiled.all.missing(seen.words(rule.look_in))
    return (True, "found all of its words") if missing is None else (False, f"“{missing}” is missing")


def _none_words(rule: "Rule", seen: Occasion) -> Ruling:
    found = rule.compiled.none.first(seen.words(rule.look_in))
    return (
        (True, "found none of the words it excludes")
        if found is None
        else (False, f"found “{found}”, an excluded word")
    )


def _expression(rule: "Rule", seen: Occasion) -> Ruling:
    expression = rule.compiled.expression
    if expression is None:
        return False, f"its regular expression cannot be read ({rule.compiled.expression_error}) and was skipped"
    try:
        match = expression.search(seen.words(rule.look_in).text, timeout=PATTERN_SECONDS)
    except TimeoutError:
        return False, f"its regular expression took longer than {PATTERN_SECONDS * 1000:.0f} ms and was skipped"
    if match is None:
        return False, "its regular expression found nothing"
    return True, f"its regular expression found “{_shortened(match[0])}”"


def _shortened(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:59]}…"


def either(names: Sequence[str]) -> str:
    return " or ".join(names)


CONDITIONS: tuple[tuple[Callable[["Rule"], bool], Condition], ...] = (
    (lambda rule: bool(rule.profiles), _profile),
    (lambda rule: rule.has_images is not None, _flag("has_images", "has an image", "no image")),
    (lambda rule: rule.has_tools is not None, _flag("has_tools", "has tools", "no tools")),
    (lambda rule: rule.wants_json is not None, _flag("wants_json", "wants JSON", "no JSON wanted")),
    (lambda rule: rule.min_tokens is not None or rule.max_tokens is not None, _tokens),
    (lambda rule: bool(rule.languages), _language),
    (lambda rule: bool(rule.keys), _key),
    (lambda rule: bool(rule.groups), _group),
    (lambda rule: bool(rule.headers), _headers),
    (lambda rule: bool(rule.metadata), _metadata),
    (lambda rule: bool(rule.weekdays) or rule.from_time is not None or rule.until_time is not None, _time),
    (lambda rule: rule.min_evidence is not None, _evidence),
    (lambda rule: bool(rule.keywords), _any_words),
    (lambda rule: bool(rule.all_keywords), _all_words),
    (lambda rule: bool(rule.none_keywords), _none_words),
    (lambda rule: bool(rule.pattern), _expression),
)
"""Each condition a rule can have, with whether one has it; in the order they are tried."""
