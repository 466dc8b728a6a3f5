"""What came of asking the program about a request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from routing.program.verdict import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramOpinion:
    """Its verdict, or why there is none; ``version`` is the program's number.

    ``why_not`` is "" where the verdict was accepted. One that was not is kept, to be seen in the decision.
    """

    version: int | None = None
    verdict: Verdict | None = None
    accepted: bool = False
    why_not: str = ""
    milliseconds: float = 0.0
    remembered: bool = False

    @property
    def quoted(self) -> str:
        """Its reason, as it ends the decision's sentence."""
        return f": {self.verdict.reason}" if self.verdict and self.verdict.reason else ""

    @property
    def skipped(self) -> tuple[str, ...]:
        """What could not be used, as a sentence."""
        return (f"program: {self.why_not}",) if self.verdict is None and self.why_not else ()

    @property
    def result(self) -> str:
        """What the decision's list of stages says of it."""
        if self.verdict is None:
            return f"skipped: {self.why_not}"
        said = f"{'remembered: ' if self.remembered else ''}{self.verdict.expert} {self.verdict.confidence:.0%}"
        return said if self.accepted else f"{said}, not followed: {self.why_not}"

    def explained(self, *, quoting: bool = True) -> dict[str, Any]:
        """Return it as JSON, without its reason where not ``quoting``: a model's words about the prompt."""
        verdict = self.verdict
        return {
            "version": self.version,
            "expert": verdict.expert if verdict else None,
            "confidence": round(verdict.confidence, 4) if verdict else None,
            "reason": verdict.reason if verdict and quoting else "",
            "accepted": self.accepted,
            "why_not": self.why_not,
            "remembered": self.remembered,
            "milliseconds": round(self.milliseconds, 3),
        }
