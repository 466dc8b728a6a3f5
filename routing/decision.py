"""What the router decided, and the whole why."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from routing.applying import apply_to
from routing.backends.protocol import ChatRequest
from routing.catalog import Expert, Profile
from routing.judging import Outcome
from routing.program.opinion import ProgramOpinion

if TYPE_CHECKING:
    from routing.mixture.plan import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """How an expert stands: seconds until it would show a first token, and whether its replicas work at all."""

    start: float = 0.0
    works: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """An expert that could have answered; ``probability`` is the classifier's, ``start`` seconds to a first token."""

    expert: str
    probability: float
    utility: float
    start: float = 0.0
    price: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    name: str
    milliseconds: float
    result: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What the router chose and why.

    ``route`` is the stage that decided: explicit, task, held, rule, classifier, program, default or fallback. ``sure``
    is whether the classifier was, where it was asked, or the program's choice is followed; ``held`` the expert that has
    the conversation; ``program`` what came of asking the program, None where it was not asked.
    """

    id: str
    expert: Expert
    route: str
    why: str
    needs: frozenset[str] = frozenset()
    fallbacks: tuple[Expert, ...] = ()
    without_images: bool = False
    profile: Profile | None = None
    confidence: float | None = None
    sure: bool = False
    candidates: tuple[Candidate, ...] = ()
    program: ProgramOpinion | None = None
    filtered: tuple[tuple[str, str], ...] = ()
    skipped: tuple[str, ...] = ()
    stages: tuple[Stage, ...] = ()
    outcome: Outcome = field(default_factory=Outcome)
    collections: tuple[str, ...] = ()
    held: str | None = None
    plan: "Plan | None" = None
    language: str = ""
    task: str = ""
    tokens: int = 0
    text: str = field(default="", repr=False)

    @property
    def milliseconds(self) -> float:
        return sum(stage.milliseconds for stage in self.stages)

    def applied_to(self, request: ChatRequest) -> ChatRequest:
        """Return ``request`` with what the rules demand."""
        return apply_to(request, self.outcome, system_prompt=self.expert.system_prompt)

    def explained(self, *, quoting: bool = True) -> dict[str, Any]:
        """Return the whole why as JSON; the prompt is not in it, nor, without ``quoting``, what a model said of it."""
        return {
            "sentence": self.why if quoting or not self.program else self.why.removesuffix(self.program.quoted),
            "profile": self.profile.slug if self.profile else None,
            "confidence": _rounded(self.confidence),
            "sure": self.sure,
            "language": self.language or None,
            "task": self.task or None,
            "tokens": self.tokens,
            "needs": sorted(self.needs),
            "held": self.held,
            "mixture": self.plan.explained() if self.plan else None,
            "candidates": [
                {
                    "expert": candidate.expert,
                    "probability": _rounded(candidate.probability),
                    "utility": _rounded(candidate.utility),
                    "start_s": round(candidate.start, 2),
                    "price": candidate.price,
                }
                for candidate in self.candidates
            ],
            "program": self.program.explained(quoting=quoting) if self.program else None,
            "filtered": [{"expert": slug, "reason": reason} for slug, reason in self.filtered],
            "skipped": list(self.skipped),
            "rules": [
                {
                    "rule": verdict.rule.name,
                    "fits": verdict.fits,
                    "applied": verdict.applied,
                    "reason": verdict.reason,
                }
                for verdict in self.outcome.verdicts
            ],
            "fallbacks": [expert.slug for expert in self.fallbacks],
            "collections": list(self.collections),
            "overrides": dict(self.outcome.overrides),
            "stages": [
                {"stage": stage.name, "milliseconds": round(stage.milliseconds, 3), "result": stage.result}
                for stage in self.stages
            ],
        }

    def body(self) -> Mapping[str, Any]:
        """Return what POST /v1/route answers."""
        return {
            "object": "route",
            "decision": self.id,
            "expert": self.expert.slug,
            "route": self.route,
            "why": self.why,
            "replicas": [replica.label for replica in self.expert.replicas_that(self.needs)],
            "explain": self.explained(),
        }


def new_id() -> str:
    return f"dec_{os.urandom(16).hex()}"


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
