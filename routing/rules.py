"""Rules: what an administrator decided beforehand, tried on a request. Pure.

A rule fits when all of its conditions hold; one that is left empty always does. Whatever can be prepared is prepared
once, when the rule is made: a request only looks words up.
"""

import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from typing import Any

import regex  # type: ignore[import-untyped]

from routing.features import Asker, Features
from routing.keywords import Phrases, Words, wildcard_fits

PATTERN_SECONDS = 0.02
"""How long a regular expression may take."""

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


# --- a rule -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A rule as the router tries it, as its row has it; experts and profiles are named by their slugs."""

    id: int
    name: str
    priority: int = 100
    enabled: bool = True

    look_in: str = "message"
    keywords: tuple[str, ...] = ()
    all_keywords: tuple[str, ...] = ()
    none_keywords: tuple[str, ...] = ()
    pattern: str = ""
    has_images: bool | None = None
    has_tools: bool | None = None
    wants_json: bool | None = None
    min_tokens: int | None = None
    max_tokens: int | None = None
    languages: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict, hash=False)
    metadata: Mapping[str, str] = field(default_factory=dict, hash=False)
    profiles: frozenset[str] = frozenset()
    weekdays: frozenset[int] = frozenset()
    from_time: dt.time | None = None
    until_time: dt.time | None = None
    min_evidence: float | None = None
    evidence_collections: tuple[str, ...] = ()

    expert: str | None = None
    candidates: tuple[str, ...] = ()
    collections: tuple[str, ...] = ()
    overrides: Mapping[str, Any] = field(default_factory=dict, hash=False)
    system_mode: str = ""
    system_text: str = ""
    stop: bool = True
    interrupts: bool = False

    compiled: "Compiled" = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "compiled", Compiled.of(self))

    @property
    def is_unconditional(self) -> bool:
        return not self.compiled.conditions

    @property
    def reads_words(self) -> bool:
        """Whether it depends on what is written."""
        words = self.keywords or self.all_keywords or self.none_keywords or self.pattern
        return bool(words) or self.min_evidence is not None

    @property
    def evidence_from(self) -> tuple[str, ...]:
        """The collections whose evidence it looks at: those named for it, else those it grounds answers in."""
        return self.evidence_collections or self.collections

    @property
    def has_effect(self) -> bool:
        return bool(self.chooses or self.collections or self.overrides or self.system_mode)

    @property
    def chooses(self) -> bool:
        """Whether it has a say in who answers."""
        return bool(self.expert or self.candidates)


@dataclass(frozen=True, slots=True)
class Compiled:
    """What is prepared of a rule: the conditions it has, the cheap ones first, and what they look for."""

    conditions: "tuple[Condition, ...]"
    any: Phrases
    all: Phrases
    none: Phrases
    expression: regex.Pattern[str] | None
    expression_error: str
    languages: frozenset[str]
    keys: tuple[str, ...]
    groups: tuple[str, ...]
    headers: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, rule: Rule) -> "Compiled":
        expression, error = compile_pattern(rule.pattern)
        return cls(
            conditions=tuple(condition for is_given, condition in CONDITIONS if is_given(rule)),
            any=Phrases.of(rule.keywords),
            all=Phrases.of(rule.all_keywords),
            none=Phrases.of(rule.none_keywords),
            expression=expression,
            expression_error=error,
            languages=frozenset(language.lower() for language in rule.languages),
            keys=tuple(key.casefold() for key in rule.keys),
            groups=tuple(group.casefold() for group in rule.groups),
            headers=tuple((name.lower(), str(value).casefold()) for name, value in rule.headers.items()),
        )


def compile_pattern(pattern: str) -> tuple[regex.Pattern[str] | None, str]:
    """Return ``pattern`` compiled, or None and what is wrong with it ("" where it is empty)."""
    if not pattern:
        return None, ""
    try:
        return regex.compile(pattern), ""
    except (regex.error, ValueError, OverflowError, RecursionError) as error:
        return None, str(error) or type(error).__name__


# --- trying it --------------------------------------------------------------------------------------------------


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
Condition = Callable[[Rule, Occasion], Ruling]


def _profile(rule: Rule, seen: Occasion) -> Ruling:
    if seen.profile in rule.profiles:
        return True, f"profile {seen.profile}"
    return False, f"profile is {seen.profile or 'none'}, not {_or(sorted(rule.profiles))}"


def _flag(name: str, yes: str, no: str) -> Condition:
    def condition(rule: Rule, seen: Occasion) -> Ruling:
        has = bool(getattr(seen.features, name))
        return has is getattr(rule, name), yes if has else no

    return condition


def _tokens(rule: Rule, seen: Occasion) -> Ruling:
    tokens = seen.features.tokens
    if rule.min_tokens is not None and tokens < rule.min_tokens:
        return False, f"{tokens} tokens, not at least {rule.min_tokens}"
    if rule.max_tokens is not None and tokens > rule.max_tokens:
        return False, f"{tokens} tokens, not at most {rule.max_tokens}"
    return True, f"{tokens} tokens"


def _language(rule: Rule, seen: Occasion) -> Ruling:
    language = seen.features.language
    if language and language.lower() in rule.compiled.languages:
        return True, f"language {language}"
    return False, f"language is {language or 'not known'}, not {_or(rule.languages)}"


def _key(rule: Rule, seen: Occasion) -> Ruling:
    return _named("API key", seen.asker.key, rule.compiled.keys, rule.keys)


def _group(rule: Rule, seen: Occasion) -> Ruling:
    return _named("group", seen.asker.group, rule.compiled.groups, rule.groups)


def _named(what: str, name: str, patterns: Sequence[str], shown: Sequence[str]) -> Ruling:
    folded = name.casefold()
    if name and any(wildcard_fits(pattern, folded) for pattern in patterns):
        return True, f"{what} {name}"
    return False, f"{what} is {name or 'none'}, not {_or(shown)}"


def _headers(rule: Rule, seen: Occasion) -> Ruling:
    for name, pattern in rule.compiled.headers:
        value = seen.asker.headers.get(name)
        if value is None:
            return False, f"no header {name}"
        # What a header holds is not told: it may be a secret.
        if not wildcard_fits(pattern, value.casefold()):
            return False, f"header {name} is not like “{pattern}”"
    return True, f"header {', '.join(name for name, _ in rule.compiled.headers)}"


def _metadata(rule: Rule, seen: Occasion) -> Ruling:
    for name, pattern in rule.metadata.items():
        if name not in seen.metadata:
            return False, f"no metadata {name}"
        if not wildcard_fits(str(pattern), _as_text(seen.metadata[name])):
            return False, f"metadata {name} is not like “{pattern}”"
    return True, f"metadata {', '.join(rule.metadata)}"


def _as_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _time(rule: Rule, seen: Occasion) -> Ruling:
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
        return False, f"it is {shown}, not {_or([WEEKDAYS[day] for day in sorted(rule.weekdays)])}"
    return True, f"it is {shown}"


def window(rule: Rule) -> str:
    """Return the time of day of ``rule``, in words."""
    start = f"from {rule.from_time:%H:%M}" if rule.from_time else ""
    end = f"until {rule.until_time:%H:%M}" if rule.until_time else ""
    return f"{start} {end}".strip()


def _evidence(rule: Rule, seen: Occasion) -> Ruling:
    found = {slug: seen.asker.evidence[slug] for slug in rule.evidence_from if slug in seen.asker.evidence}
    if not found:
        return False, f"what {_or(rule.evidence_from)} holds on it is not known"
    best = max(found, key=lambda slug: found[slug])
    if found[best] < (rule.min_evidence or 0.0):
        return False, f"evidence in {best} is {found[best]:.2f}, not at least {rule.min_evidence:g}"
    return True, f"evidence in {best} is {found[best]:.2f}"


def _any_words(rule: Rule, seen: Occasion) -> Ruling:
    found = rule.compiled.any.first(seen.words(rule.look_in))
    return (False, "found none of its keywords") if found is None else (True, f"found “{found}”")


def _all_words(rule: Rule, seen: Occasion) -> Ruling:
    missing = rule.compiled.all.missing(seen.words(rule.look_in))
    return (True, "found all of its words") if missing is None else (False, f"“{missing}” is missing")


def _none_words(rule: Rule, seen: Occasion) -> Ruling:
    found = rule.compiled.none.first(seen.words(rule.look_in))
    return (
        (True, "found none of the words it excludes")
        if found is None
        else (False, f"found “{found}”, an excluded word")
    )


def _expression(rule: Rule, seen: Occasion) -> Ruling:
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


def _or(names: Sequence[str]) -> str:
    return " or ".join(names)


CONDITIONS: tuple[tuple[Callable[[Rule], bool], Condition], ...] = (
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What became of a rule: whether its conditions hold (``fits``), whether it had its way (``applied``), and why."""

    rule: Rule
    fits: bool
    reason: str
    applied: bool = False


def judge(
    rule: Rule, features: Features, asker: Asker, metadata: Mapping[str, Any], profile: str, now: dt.datetime
) -> Verdict:
    """Return whether ``rule`` fits by itself; ``now`` is in the server's time zone."""
    return _judge(rule, Occasion(features, asker, metadata, profile, now))


def _judge(rule: Rule, seen: Occasion) -> Verdict:
    if not rule.enabled:
        return Verdict(rule=rule, fits=False, reason="it is disabled")
    reasons = []
    for condition in rule.compiled.conditions:
        holds, reason = condition(rule, seen)
        if not holds:
            return Verdict(rule=rule, fits=False, reason=reason)
        reasons.append(reason)
    return Verdict(rule=rule, fits=True, reason=", ".join(reasons) or "it has no condition")


# --- what they come to ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What the rules decided.

    ``by`` is the rule that named the ``expert``; ``candidates`` is who alone may answer (None: anybody). ``system``
    holds ways and texts, in the order of the rules; ``rules`` are those that had their way.
    """

    expert: str | None = None
    by: Rule | None = None
    candidates: tuple[str, ...] | None = None
    collections: tuple[str, ...] = ()
    overrides: Mapping[str, Any] = field(default_factory=dict)
    system: tuple[tuple[str, str], ...] = ()
    rules: tuple[Rule, ...] = ()
    verdicts: tuple[Verdict, ...] = ()

    @property
    def why(self) -> str:
        """Return why the rule that named the expert fits, or ""."""
        return next((verdict.reason for verdict in self.verdicts if verdict.rule is self.by), "")


def judge_all(
    rules: Iterable[Rule],
    features: Features,
    asker: Asker,
    metadata: Mapping[str, Any],
    profile: str,
    now: dt.datetime,
    *,
    able: AbstractSet[str] | None = None,
    held: bool = False,
) -> Outcome:
    """Return what ``rules`` (in their order) come to, with a verdict for each.

    ``able`` are the slugs of who can take the request (None: everybody); a rule that names nobody of them is passed
    over. In a ``held`` conversation only a rule that interrupts has a say in who answers.
    """
    seen = Occasion(features, asker, metadata, profile, now)
    gathering = _Gathering(able=able, held=held)
    for rule in rules:
        gathering.add(rule, seen)
    return gathering.outcome()


class _Gathering:
    """The rules that fitted so far, put together."""

    def __init__(self, *, able: AbstractSet[str] | None, held: bool) -> None:
        self._able = able
        self._held = held
        self._stopped_by: Rule | None = None
        self._by: Rule | None = None
        self._candidates: tuple[str, ...] | None = None
        self._collections: dict[str, None] = {}
        self._overrides: dict[str, Any] = {}
        self._system: list[tuple[str, str]] = []
        self._applied: list[Rule] = []
        self._verdicts: list[Verdict] = []

    def add(self, rule: Rule, seen: Occasion) -> None:
        if self._stopped_by is not None:
            reason = f"not tried: rule “{self._stopped_by.name}” stopped"
            self._verdicts.append(Verdict(rule=rule, fits=False, reason=reason))
            return
        verdict = _judge(rule, seen)
        if verdict.fits:
            applied, note = self._choose(rule)
            reason = f"{verdict.reason}; {note}" if note else verdict.reason
            verdict = replace(verdict, reason=reason, applied=applied)
            if applied:
                self._apply(rule)
        self._verdicts.append(verdict)

    def _choose(self, rule: Rule) -> Ruling:
        """Let ``rule`` say who answers; return whether the rest of it applies, and what to note."""
        if not rule.chooses:
            return True, ""
        if self._held and not rule.interrupts:
            return True, "but it does not move a conversation that is under way"
        if self._by is not None:
            return True, f"but rule “{self._by.name}” named the expert before"
        return self._name(rule, rule.expert) if rule.expert else self._restrict(rule)

    def _name(self, rule: Rule, expert: str) -> Ruling:
        if not self._is_able(expert):
            return False, f"passed over: {expert} cannot take this request"
        if self._candidates is not None and expert not in self._candidates:
            return False, f"passed over: {expert} is none of the candidates left, {_or(self._candidates)}"
        self._by = rule
        return True, ""

    def _restrict(self, rule: Rule) -> Ruling:
        able = tuple(slug for slug in rule.candidates if self._is_able(slug))
        if not able:
            return False, f"passed over: {_or(rule.candidates)} cannot take this request"
        if self._candidates is not None:
            able = tuple(slug for slug in self._candidates if slug in able)
            if not able:
                return False, f"passed over: none of the candidates left, {_or(self._candidates)}, is one of its own"
        self._candidates = able
        return True, ""

    def _is_able(self, slug: str) -> bool:
        return self._able is None or slug in self._able

    def _apply(self, rule: Rule) -> None:
        self._applied.append(rule)
        self._collections |= dict.fromkeys(rule.collections)
        self._overrides = dict(rule.overrides) | self._overrides
        if rule.system_mode:
            self._system.append((rule.system_mode, rule.system_text))
        if rule.stop:
            self._stopped_by = rule

    def outcome(self) -> Outcome:
        return Outcome(
            expert=self._by.expert if self._by else None,
            by=self._by,
            candidates=self._candidates,
            collections=tuple(self._collections),
            overrides=self._overrides,
            system=tuple(self._system),
            rules=tuple(self._applied),
            verdicts=tuple(self._verdicts),
        )
