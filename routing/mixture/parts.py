"""What became of each expert that was asked for one answer: the values that clients and records are told. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from routing.backends.protocol import Usage


class Role(StrEnum):
    """What an expert was asked for: one of several answers, to make them one, a cascade's step, or a look back."""

    MEMBER = "member"
    AGGREGATOR = "aggregator"
    STEP = "step"
    CHECK = "self-check"


class Status(StrEnum):
    """``cut``: answered, and the aggregator was shown the beginning only."""

    RUNNING = "running"
    ANSWERED = "answered"
    CUT = "cut"
    FAILED = "failed"
    TOO_SLOW = "too slow"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One expert's part; times in seconds, ``start`` and ``first`` (piece) since the request came to the mixture.

    ``error`` is the code of what went wrong. ``confidence`` is from 0 to 1, by the ``signal`` "logprobs" or
    "self-check". ``usage`` is None where the server did not count, as for one that was cancelled.
    """

    role: Role
    expert: str
    replica: str = ""
    status: Status = Status.RUNNING
    error: str = ""
    confidence: float | None = None
    signal: str = ""
    usage: Usage | None = None
    cost: float | None = None
    start: float = 0.0
    first: float | None = None
    seconds: float = 0.0

    @property
    def is_asked(self) -> bool:
        """Whether it is one of the answers, rather than work on them."""
        return self.role in (Role.MEMBER, Role.STEP)

    def body(self) -> dict[str, Any]:
        return {
            "role": str(self.role),
            "expert": self.expert,
            "replica": self.replica or None,
            "status": str(self.status),
            "error": self.error or None,
            "confidence": _rounded(self.confidence, 4),
            "signal": self.signal or None,
            "prompt_tokens": self.usage.prompt_tokens if self.usage else None,
            "completion_tokens": self.usage.completion_tokens if self.usage else None,
            "cost": _rounded(self.cost, 8),
            "start_s": _rounded(self.start, 3),
            "first_s": _rounded(self.first, 3),
            "seconds": _rounded(self.seconds, 3),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """All parts of the answer ``index``; comes when what there is of them changes, and before the Finish.

    ``agreement`` is how alike a mixture's answers are, 0 to 1, None where there was nothing to compare. ``expansions``
    counts how often further experts were asked, ``notes`` say what did not go as it was meant to.
    """

    index: int = 0
    parts: tuple[Part, ...] = ()
    agreement: float | None = None
    expansions: int = 0
    notes: tuple[str, ...] = ()

    @property
    def usage(self) -> Usage | None:
        """What all parts took together, as far as servers counted; None where none did."""
        counted = [part.usage for part in self.parts if part.usage]
        return sum(counted[1:], counted[0]) if counted else None

    @property
    def cost(self) -> float:
        return sum(part.cost or 0.0 for part in self.parts)


def counted(answers: Sequence[Parts]) -> str:
    """Return how many were asked for one request's answers and how many answered, as the value of X-MoE-Parts."""
    asked = [part.status for one in answers for part in one.parts if part.is_asked]
    counts = {
        "asked": len(asked),
        "answered": sum(status in (Status.ANSWERED, Status.CUT) for status in asked),
        "failed": asked.count(Status.FAILED),
    }
    if slow := asked.count(Status.TOO_SLOW):
        counts["slow"] = slow
    return "; ".join(f"{name}={count}" for name, count in counts.items())


def together(answers: Sequence[Parts]) -> dict[str, Any]:
    """Return the parts of one request's answers as JSON; of several answers the least agreement counts."""
    if not answers:
        return {}
    agreements = [one.agreement for one in answers if one.agreement is not None]
    several = len(answers) > 1
    return {
        "parts": [
            part.body() | ({"choice": one.index} if several else {})
            for one in sorted(answers, key=_index)
            for part in one.parts
        ],
        "agreement": _rounded(min(agreements), 4) if agreements else None,
        "asked": sum(part.is_asked for one in answers for part in one.parts),
        "expansions": sum(one.expansions for one in answers),
        "cost": _rounded(sum(one.cost for one in answers), 8),
        "notes": list(dict.fromkeys(note for one in answers for note in one.notes)),
    }


def _index(parts: Parts) -> int:
    return parts.index


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
