"""Asks a program about held-out cases, one after the other, and notes what it says and how long it takes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import dspy
from dspy.utils.usage_tracker import track_usage

from routing.catalog import Expert
from routing.program.compiling import Say
from routing.program.measuring import Outcome
from routing.program.module import ChooseExpert, Verdict, ask
from routing.program.study import Case

SAY_SECONDS = 10.0
CUT_SHARE = 0.95
"""What took this much of its time, less what reading it takes, was cut short."""


class ModelFails(Exception):
    """The model that is to run the program does not answer; the message says what it said instead."""


def woken(module: ChooseExpert, case: Case, experts: Sequence[Expert], lm: dspy.LM) -> None:
    """Have the model loaded and the beginning of the prompt read, as in production. Raises ModelFails."""
    try:
        ask(module, case.prompt, experts, lm)
    except dspy.LMError as error:
        raise ModelFails(str(error)) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Models:
    """The same model twice: ``hurried`` ends after ``limit`` seconds, as in production; ``patient`` does not."""

    hurried: dspy.LM
    patient: dspy.LM
    limit: float


def asked(
    module: ChooseExpert,
    cases: Sequence[Case],
    experts: Sequence[Expert],
    models: Models,
    *,
    deadline: float,
    say: Say,
) -> list[Outcome]:
    """Return what the program says of ``cases``, in their order; after ``deadline`` (of time.monotonic) it ends."""
    outcomes: list[Outcome] = []
    told = time.monotonic()
    for case in cases:
        outcomes.append(_outcome(module, case, experts, models))
        if time.monotonic() > deadline:
            break
        if time.monotonic() - told > SAY_SECONDS:
            told = time.monotonic()
            say(f"Asked about {len(outcomes)} of {len(cases)} held-out examples.")
    return outcomes


def _outcome(module: ChooseExpert, case: Case, experts: Sequence[Expert], models: Models) -> Outcome:
    first = full = _answer(module, case, experts, models.hurried)
    cut = first.ms > 1000 * CUT_SHARE * models.limit
    if cut:  # its answer was cut short, or none came
        full = _answer(module, case, experts, models.patient)
    late = cut and first.verdict is None
    return Outcome(
        digest=case.digest,
        expert=case.expert,
        guess=case.guess,
        said=first.verdict.expert if first.verdict else "",
        confidence=first.verdict.confidence if first.verdict else 0.0,
        ms=round(first.ms, 1),
        late=late,
        failed="" if late else first.failed,
        unhurried=full.verdict.expert if full.verdict else "",
        unhurried_ms=round(full.ms, 1),
        prompt_tokens=full.prompt_tokens,
        completion_tokens=full.completion_tokens,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    verdict: Verdict | None
    ms: float
    failed: str
    prompt_tokens: int
    completion_tokens: int


def _answer(module: ChooseExpert, case: Case, experts: Sequence[Expert], lm: dspy.LM) -> _Answer:
    verdict, failed = None, ""
    with track_usage() as usage:
        began = time.perf_counter()
        try:
            verdict = ask(module, case.prompt, experts, lm)
        except dspy.LMError as error:
            failed = (str(error) or type(error).__name__)[:200]
        ms = (time.perf_counter() - began) * 1000
    spent: dict[str, Any] = next(iter(usage.get_total_tokens().values()), {})
    return _Answer(
        verdict=verdict,
        ms=ms,
        failed=failed,
        prompt_tokens=int(spent.get("prompt_tokens") or 0),
        completion_tokens=int(spent.get("completion_tokens") or 0),
    )
