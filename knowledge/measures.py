"""How good a ranking is. Pure.

nDCG as trec_eval computes it (Järvelin and Kekäläinen, 2002, with the judged grade as gain): held against an
independent implementation in the tests.
"""

import math
import random
import statistics
from collections.abc import Mapping, Sequence

RESAMPLES = 2_000


def ndcg(ranked: Sequence[str], relevant: Mapping[str, float], depth: int) -> float:
    """Return the discounted gain of the first ``depth`` of ``ranked``, as a share of the best there could be."""
    ideal = sum(_discounted(gain, rank) for rank, gain in enumerate(sorted(relevant.values(), reverse=True)[:depth]))
    found = sum(_discounted(relevant.get(one, 0.0), rank) for rank, one in enumerate(ranked[:depth]))
    return found / ideal if ideal else 0.0


def recall(ranked: Sequence[str], relevant: Mapping[str, float], depth: int) -> float:
    """Return the share of what is relevant among the first ``depth`` of ``ranked``."""
    wanted = {one for one, gain in relevant.items() if gain > 0}
    return len(wanted & {*ranked[:depth]}) / len(wanted) if wanted else 0.0


def reciprocal_rank(ranked: Sequence[str], relevant: Mapping[str, float]) -> float:
    """Return 1 over the place of the first relevant one, 0 if there is none."""
    return next((1 / place for place, one in enumerate(ranked, 1) if relevant.get(one, 0.0) > 0), 0.0)


def interval(differences: Sequence[float]) -> tuple[float, float]:
    """Return the 95 % interval of the mean of paired differences, by the percentile bootstrap.

    Efron (1979); resampled from a fixed seed, so that the same differences have the same interval.
    """
    if len(differences) < 2:
        return (-1.0, 1.0)
    chance = random.Random(0)  # noqa: S311 - statistics
    means = sorted(statistics.fmean(chance.choices(differences, k=len(differences))) for _ in range(RESAMPLES))
    return means[round(RESAMPLES * 0.025)], means[round(RESAMPLES * 0.975) - 1]


def _discounted(gain: float, rank: int) -> float:
    return gain / math.log2(rank + 2)
