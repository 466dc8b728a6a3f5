"""Two measurements of the same questions beside each other: what got better, what got worse, how sure that is. Pure.

Questions are paired by their ids; those that only one of the two asked are left out.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from knowledge.judging import MEASURES
from knowledge.measures import interval

LEAD = "ndcg_10"
"""The measure by which a question got better or worse: it tells places apart."""
SAME = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A measure's means in both, and the 95 % interval of how much the second is above the first."""

    name: str
    first: float
    second: float
    low: float
    high: float

    @property
    def change(self) -> float:
        return self.second - self.first

    @property
    def is_sure(self) -> bool:
        """Whether the interval leaves no doubt which of both is better."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A question with its measures, and what was found, in both."""

    query: str
    first: Mapping[str, Any]
    second: Mapping[str, Any]

    @property
    def change(self) -> float:
        return float(self.second[LEAD] - self.first[LEAD])


@dataclass(frozen=True, slots=True, kw_only=True)
class Paired:
    """``better`` and ``worse`` are questions of the second measurement, those that changed most first."""

    questions: int
    differences: tuple[Difference, ...]
    better: tuple[Change, ...]
    worse: tuple[Change, ...]

    @property
    def same(self) -> int:
        return self.questions - len(self.better) - len(self.worse)


def paired(first: Sequence[Mapping[str, Any]], second: Sequence[Mapping[str, Any]]) -> Paired:
    """Return two measurements, as runs keep their details, beside each other."""
    known = {row["id"]: row for row in first}
    pairs = [(known[row["id"]], row) for row in second if row["id"] in known]
    changes = [Change(query=two["query"], first=one, second=two) for one, two in pairs]
    return Paired(
        questions=len(pairs),
        differences=tuple(_difference(name, pairs) for name in MEASURES) if pairs else (),
        better=tuple(sorted((one for one in changes if one.change > SAME), key=lambda one: -one.change)),
        worse=tuple(sorted((one for one in changes if one.change < -SAME), key=lambda one: one.change)),
    )


def _difference(name: str, pairs: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> Difference:
    low, high = interval([two[name] - one[name] for one, two in pairs])
    return Difference(
        name=name,
        first=statistics.fmean(one[name] for one, _ in pairs),
        second=statistics.fmean(two[name] for _, two in pairs),
        low=low,
        high=high,
    )
