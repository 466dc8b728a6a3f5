"""How well a collection was found to answer its golden queries, over time, as plots. Pure.

A run that does not tell a measure is left out; a plot of nothing is None.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from routing.admin.plotting import LEFT, RIGHT, Axis, Dot, Plot, Tick, is_number, joined, upper_shares

MOST_TICKS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A run: when it was made, by which model's vectors, and what it measured."""

    at: dt.datetime
    model: str
    measures: dict[str, Any]


def over_time(points: Sequence[Point], measure: str, title: str) -> Plot | None:
    """Return a measure of runs, the oldest first; where the embedding model changed it is named."""
    known = [point for point in points if is_number(point.measures.get(measure))]
    if not known:
        return None
    values = [float(point.measures[measure]) for point in known]
    x, y = Axis(-0.5, len(known) - 0.5, LEFT, RIGHT), upper_shares(values)
    step = -(-len(known) // MOST_TICKS)
    models = ["", *(point.model for point in known)]
    return Plot(
        title=title,
        x_label="measured",
        y_label=title,
        x_ticks=tuple(
            Tick(place=x.at(place), label=f"{known[place].at:%d %b}") for place in range(0, len(known), step)
        ),
        y_ticks=y.ticks(0.1),
        dots=tuple(
            Dot(
                x=x.at(place),
                y=y.at(value),
                words=f"{point.at:%Y-%m-%d %H:%M} by {point.model}: {value:.3f}",
                label=point.model if point.model != models[place] else "",
                strong=point.model != models[place],
            )
            for place, (point, value) in enumerate(zip(known, values, strict=True))
        ),
        line=joined((x.at(place), y.at(value)) for place, value in enumerate(values)),
    )
