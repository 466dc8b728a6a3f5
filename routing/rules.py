"""Rules: what an administrator decided beforehand. Pure.

A rule fits when all of its conditions hold; one that is left empty always does. Whatever can be prepared is prepared
once, when the rule is made: a request only looks words up.
"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import regex  # type: ignore[import-untyped]

from routing.conditions import CONDITIONS, Condition
from routing.keywords import Phrases


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
    def chooses(self) -> bool:
        """Whether it has a say in who answers."""
        return bool(self.expert or self.candidates)


@dataclass(frozen=True, slots=True)
class Compiled:
    """What is prepared of a rule: the conditions it has, the cheap ones first, and what they look for."""

    conditions: tuple[Condition, ...]
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
