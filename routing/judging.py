"""What rules come to for a request: who of them has their way, and what they decide together. Pure."""

import datetime as dt
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from typing import Any

from routing.conditions import Occasion, Ruling, either
from routing.features import Asker, Features
from routing.rules import Rule


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
            return False, f"passed over: {expert} is none of the candidates left, {either(self._candidates)}"
        self._by = rule
        return True, ""

    def _restrict(self, rule: Rule) -> Ruling:
        able = tuple(slug for slug in rule.candidates if self._is_able(slug))
        if not able:
            return False, f"passed over: {either(rule.candidates)} cannot take this request"
        if self._candidates is not None:
            able = tuple(slug for slug in self._candidates if slug in able)
            if not able:
                return False, f"passed over: none of the candidates left, {either(self._candidates)}, is one of its own"
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
