"""Which examples a program is compiled with, and which it is measured with. Pure.

Only such count as the classifier is unsure of: nothing else ever reaches the program.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

FEWEST_TRAINING = 10
FEWEST_HELD_OUT = 20
"""With fewer no difference that is likely could be told from chance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A prompt the classifier is unsure of: ``guess`` would answer it, with ``confidence``, and ``expert`` should.

    ``digest`` tells prompts apart. ``own`` is whether somebody here wrote or corrected it; ``only_held_out`` whether
    it was kept for evaluation.
    """

    digest: str
    prompt: str
    expert: str
    guess: str
    confidence: float
    own: bool = False
    only_held_out: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """``training`` is what a program may learn from, ``held_out`` what it never sees before it is measured."""

    training: tuple[Case, ...]
    held_out: tuple[Case, ...]

    @property
    def fingerprint(self) -> str:
        """What tells two studies apart: their prompts, their experts and their sides."""
        digest = hashlib.sha256()
        for side in (self.training, self.held_out):
            for row in sorted((case.digest, case.expert) for case in side):
                digest.update("\t".join(row).encode() + b"\n")
            digest.update(b"\n")
        return digest.hexdigest()


class TooFewCases(ValueError):
    """There is too little to compile or to measure with; the message says what to do."""


def study(cases: Sequence[Case], *, training: int, held_out: int) -> Study:
    """Return at most ``training`` and ``held_out`` of ``cases`` for the two sides; raises TooFewCases.

    An example's side follows from its digest alone, so that whatever is added, one that was held out once is never
    compiled with. On each side one's own examples come first, and each expert has its share.
    """
    learnt = [case for case in cases if not case.only_held_out and is_training(case.digest)]
    measured = [case for case in cases if case.only_held_out or not is_training(case.digest)]
    found = Study(training=_first(learnt, training), held_out=_first(measured, held_out))
    if len(found.training) < FEWEST_TRAINING or len(found.held_out) < FEWEST_HELD_OUT:
        raise TooFewCases(_too_few(cases, found))
    return found


def is_training(digest: str) -> bool:
    """Tell the side of an example: about half of all are for training."""
    return hashlib.sha256(f"program\t{digest}".encode()).digest()[0] % 2 == 0


def _first(cases: Iterable[Case], most: int) -> tuple[Case, ...]:
    """Return ``most`` cases: those for evaluation, then one's own, then others, spread over the experts."""
    groups: dict[tuple[bool, bool], dict[str, list[Case]]] = defaultdict(lambda: defaultdict(list))
    for case in cases:
        groups[not case.only_held_out, not case.own][case.expert].append(case)
    ordered: list[Case] = []
    for group in sorted(groups):
        ordered += _spread(groups[group].values())
    return tuple(ordered[:most])


def _spread(experts: Iterable[list[Case]]) -> list[Case]:
    """Return the cases in an order in which every beginning has about each expert's share of them."""
    placed = []
    for cases in experts:
        dealt = sorted(cases, key=lambda case: case.digest)
        placed += [((number + 0.5) / len(dealt), case.digest, case) for number, case in enumerate(dealt)]
    return [case for _, _, case in sorted(placed, key=lambda one: one[:2])]


def _too_few(cases: Sequence[Case], found: Study) -> str:
    return (
        f"The classifier is unsure of {len(cases)} of the examples; that makes {len(found.training)} to compile with "
        f"and {len(found.held_out)} to measure with, and at least {FEWEST_TRAINING} and {FEWEST_HELD_OUT} are needed. "
        "Ask for more of them (--examples, --held-out), or add examples of what is routed wrongly: in the list of "
        "decisions, or on the page of examples."
    )
