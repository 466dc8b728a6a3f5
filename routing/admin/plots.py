"""What is known of classifiers as plots. Pure.

Whatever is missing or of another shape is left out; a plot of nothing is None.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from routing.admin.plotting import BOTTOM, LEFT, RIGHT, TOP, Axis, Dot, Plot, Tick, is_number, joined, upper_shares

LEAST_RADIUS, MOST_RADIUS = 3.0, 12.0


def reliability(bins: Any) -> Plot | None:
    """Return how often decisions of each confidence were right; ``bins`` are those of measures.calibration."""
    rows = list(_rows(bins, "confidence", "accuracy", "count"))
    if not rows:
        return None
    x, y = Axis(0, 1, LEFT, RIGHT), Axis(0, 1, BOTTOM, TOP)
    most = max(count for _, _, count in rows) or 1
    return Plot(
        title="How often it is right, by how sure it says it is",
        x_label="confidence",
        y_label="right",
        x_ticks=x.ticks(0.2),
        y_ticks=y.ticks(0.2),
        dots=tuple(
            Dot(
                x=x.at(confidence),
                y=y.at(accuracy),
                radius=f"{LEAST_RADIUS + (MOST_RADIUS - LEAST_RADIUS) * math.sqrt(max(0.0, count) / most):.1f}",
                words=f"{count:.0f} at {confidence:.0%}, {accuracy:.0%} right",
                label=f"{count:.0f}",
            )
            for confidence, accuracy, count in rows
        ),
        line=joined((x.at(confidence), y.at(accuracy)) for confidence, accuracy, _ in rows),
        ideal=joined([(x.at(0), y.at(0)), (x.at(1), y.at(1))]),
    )


def coverage(points: Any) -> Plot | None:
    """Return what share would be right if only what reaches a confidence were decided.

    ``points`` are those of measures.coverage.
    """
    rows = [row for row in _rows(points, "decided", "right", "threshold") if row[0] > 0]
    if not rows:
        return None
    x, y = Axis(0, 1, LEFT, RIGHT), upper_shares([right for _, right, _ in rows])
    return Plot(
        title="How often it is right, by how much it decides",
        x_label="decided",
        y_label="right of those",
        x_ticks=x.ticks(0.2),
        y_ticks=y.ticks(0.1),
        dots=tuple(
            Dot(
                x=x.at(decided),
                y=y.at(right),
                words=f"from {threshold:.0%} on: {decided:.0%} decided, {right:.1%} of them right",
                label=f"{threshold:.0%}",
            )
            for decided, right, threshold in rows
        ),
        line=joined((x.at(decided), y.at(right)) for decided, right, _ in rows),
    )


def versions(rows: Sequence[tuple[int, Any, bool]]) -> Plot | None:
    """Return the accuracy of classifiers, the oldest first; a row is a number, an accuracy and whether it decides."""
    known = [(number, accuracy, active) for number, accuracy, active in rows if is_number(accuracy)]
    if not known:
        return None
    x, y = Axis(-0.5, len(known) - 0.5, LEFT, RIGHT), upper_shares([accuracy for _, accuracy, _ in known])
    return Plot(
        title="Accuracy by version",
        x_label="version",
        y_label="right",
        x_ticks=tuple(Tick(place=x.at(place), label=str(number)) for place, (number, _, _) in enumerate(known)),
        y_ticks=y.ticks(0.1),
        dots=tuple(
            Dot(
                x=x.at(place),
                y=y.at(accuracy),
                words=f"version {number}: {accuracy:.1%}{', active' if active else ''}",
                label="active" if active else "",
                strong=active,
            )
            for place, (number, accuracy, active) in enumerate(known)
        ),
        line=joined((x.at(place), y.at(accuracy)) for place, (_, accuracy, _) in enumerate(known)),
    )


def _rows(found: Any, *names: str) -> Iterable[tuple[float, float, float]]:
    for row in found if isinstance(found, list | tuple) else ():
        values: list[Any] = [row.get(name) for name in names] if isinstance(row, Mapping) else [None]
        if all(map(is_number, values)):
            first, second, third = values
            yield first, second, third
