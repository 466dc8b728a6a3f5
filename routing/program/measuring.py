"""What a program was found to be worth: each held-out case with what became of it, and the sums. Pure.

Outcomes are kept, so that a version can be compared with any other on the cases both answered, and judged anew when
its time limit or its least confidence is changed, without asking a model again.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from routing.classifier.measures import paired, scores


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A case, and what became of it.

    ``expert`` should answer and ``guess`` is the classifier's. ``said`` is what the program chose within its limit of
    time, after ``ms`` milliseconds and with a ``confidence`` of 0 to 1: "" where it abstained, was ``late`` or failed
    (``failed`` says why). ``unhurried`` is what it chose without a limit, after ``unhurried_ms``. The rest are tokens.
    """

    digest: str
    expert: str
    guess: str
    said: str
    confidence: float
    ms: float
    late: bool = False
    failed: str = ""
    unhurried: str = ""
    unhurried_ms: float = 0.0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def in_time(self, settings: Settings) -> bool:
        return not self.late and self.ms <= 1000 * settings.time_limit

    def accepted(self, settings: Settings) -> bool:
        """Tell whether production would have taken the program's choice."""
        return bool(self.said) and self.in_time(settings) and self.confidence >= settings.accept_from

    def chosen(self, settings: Settings) -> str:
        """Return who would have answered: where the program is late or unsure, the classifier's guess."""
        return self.said if self.accepted(settings) else self.guess


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a program is run: seconds it may take, and the confidence below which it is not listened to."""

    time_limit: float
    accept_from: float


def outcomes_of(metrics: Any) -> list[Outcome]:
    """Return the outcomes kept in a version's metrics; what is of another shape is none."""
    rows = metrics.get("outcomes") if isinstance(metrics, Mapping) else None
    try:
        found = [Outcome(**row) for row in rows or ()]
    except TypeError:
        return []
    return found if all(isinstance(one.ms, int | float) for one in found) else []


def report(outcomes: Sequence[Outcome], settings: Settings) -> dict[str, Any]:
    """Return what is to be said of ``outcomes``: the classifier alone, the program alone, and both as in production.

    Everything is about the same cases; ``gain`` is by how much the whole is better than the classifier alone. With a
    longer limit than they were measured with, what was late then stays late.
    """
    truth = [one.expert for one in outcomes]
    guessed = [one.guess for one in outcomes]
    chosen = [one.chosen(settings) for one in outcomes]
    times = sorted(one.ms for one in outcomes)
    return {
        "count": len(outcomes),
        "time_limit": settings.time_limit,
        "accept_from": settings.accept_from,
        "classifier": scores(truth, guessed),
        "program": scores(truth, [one.unhurried for one in outcomes]),
        "stage": scores(truth, chosen),
        "gain": paired(_right(truth, guessed), _right(truth, chosen)),
        "shares": _shares(outcomes, settings),
        "ms_median": statistics.median(times) if times else 0.0,
        "ms_p95": times[min(len(times) - 1, int(0.95 * len(times)))] if times else 0.0,
        "unhurried_ms_median": statistics.median(one.unhurried_ms for one in outcomes) if outcomes else 0.0,
        "prompt_tokens": _mean([one.prompt_tokens for one in outcomes]),
        "completion_tokens": _mean([one.completion_tokens for one in outcomes]),
        "outcomes": [asdict(one) for one in outcomes],
    }


def _shares(outcomes: Sequence[Outcome], settings: Settings) -> dict[str, float]:
    return {
        "in_time": _mean([one.in_time(settings) for one in outcomes]),
        "abstained": _mean([not (one.said or one.failed or one.late) for one in outcomes]),
        "failed": _mean([bool(one.failed) for one in outcomes]),
        "accepted": _mean([one.accepted(settings) for one in outcomes]),
    }


def compared(first: Sequence[Outcome], under: Settings, second: Sequence[Outcome], beside: Settings) -> dict[str, Any]:
    """Return ``paired`` of two versions on the cases both were measured with, each as it would run."""
    known = {one.digest: one for one in first}
    both = [(known[two.digest], two) for two in second if two.digest in known]
    # The second's guesses are those of the classifier of today.
    return paired(
        [(one.said if one.accepted(under) else two.guess) == two.expert for one, two in both],
        [two.chosen(beside) == two.expert for _, two in both],
    )


def least_confidence(outcomes: Sequence[Outcome], time_limit: float) -> float:
    """Return the confidence from which on it is best to listen to the program, judged by ``outcomes``.

    Of several that do equally well, the lowest. The outcomes must not be those it is measured with afterwards.
    """
    levels = sorted({0.0, *(one.confidence for one in outcomes if one.said)})

    def right(level: float) -> int:
        settings = Settings(time_limit=time_limit, accept_from=level)
        return sum(one.chosen(settings) == one.expert for one in outcomes)

    return max(levels, key=lambda level: (right(level), -level))


def verdict(gain: Mapping[str, Any]) -> str:
    """Return in words what a difference with its interval says."""
    low, high = gain["interval"]
    if low > 0:
        return "better: chance alone would hardly do that"
    if high < 0:
        return "worse: chance alone would hardly do that"
    return "not shown to be better: the interval reaches zero"


def points(gain: Mapping[str, Any]) -> str:
    """Return a difference with its interval for people, in percentage points."""
    low, high = gain["interval"]
    return f"{100 * gain['difference']:+.1f} points ({100 * low:+.1f} to {100 * high:+.1f}) on {gain['count']} cases"


def _right(truth: Sequence[str], chosen: Sequence[str]) -> list[bool]:
    return [one == other for one, other in zip(truth, chosen, strict=True)]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
