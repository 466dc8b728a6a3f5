"""What a run is to compile with, and on whose model."""

from __future__ import annotations

from dataclasses import dataclass

from routing.catalog import Catalog, Expert
from routing.choosing import size


class CannotOptimize(Exception):
    """Nothing can be compiled; the message says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to compile with: how many examples for either side, and minutes in all.

    ``teacher`` is the slug of the expert that writes instructions, "" for the one that runs the program.
    ``accept_from`` None has the least confidence chosen by the training examples.
    """

    examples: int = 100
    held_out: int = 100
    minutes: float = 30.0
    teacher: str = ""
    accept_from: float | None = None


def runner_of(known: Catalog, slug: str) -> Expert:
    """Return the expert of ``slug``; without one the default expert, else the smallest. Raises CannotOptimize."""
    able = {expert.slug: expert for expert in known.experts.values() if expert.replicas}
    if not able:
        raise CannotOptimize("No expert has a replica on a model server that is known. Add a model server first.")
    if slug:
        if slug not in able:
            raise CannotOptimize(f"There is no expert {slug} that can answer. There are: {', '.join(able)}.")
        return able[slug]
    if known.default in able:
        return able[known.default]
    return min(able.values(), key=lambda expert: size(expert, frozenset()))
