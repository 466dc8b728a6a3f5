"""Passages that say the same as a better one. Pure."""

import re
from collections.abc import Sequence

from knowledge.passages import Passage

SAME = 0.9
"""Share of three-word runs that two texts must have in common to be the same."""
_WORD = re.compile(r"\w+")


def without_repeats(passages: Sequence[Passage], most: int) -> tuple[list[Passage], int]:
    """Return the first ``most`` passages that differ, and how many before the last of them were left out."""
    kept: list[Passage] = []
    runs: list[frozenset[tuple[str, ...]]] = []
    dropped = 0
    for passage in passages:
        if len(kept) == most:
            break
        own = _runs(passage.text)
        if any(_alike(own, other) for other in runs):
            dropped += 1
            continue
        kept.append(passage)
        runs.append(own)
    return kept, dropped


def _runs(text: str) -> frozenset[tuple[str, ...]]:
    words = _WORD.findall(text.casefold())
    if len(words) < 3:
        return frozenset([tuple(words)])
    return frozenset(zip(words, words[1:], words[2:], strict=False))


def _alike(one: frozenset[tuple[str, ...]], other: frozenset[tuple[str, ...]]) -> bool:
    common = len(one & other)
    return common >= SAME * len(one | other)
