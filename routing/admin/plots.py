"""Plots as places on a canvas, which plot.html draws. Pure.

Whatever is missing or of another shape is left out; a plot of nothing is None. Places are texts, so that no locale
writes them with commas.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

WIDTH, HEIGHT = 460, 320
LEFT, RIGHT, TOP, BOTTOM = 52, 444, 28, 268
LEAST_RADIUS, MOST_RADIUS = 3.0, 12.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    place: str
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Dot:
    """A point; ``words`` is shown to whoever points at it, ``label`` beside it."""

    x: str
    y: str
    words: str
    radius: str = "4"
    label: str = ""
    strong: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """A plot; ``line`` joins points of the data, ``ideal`` is what they would ideally lie on."""

    title: str
    x_label: str
    y_label: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    dots: tuple[Dot, ...]
    line: str = ""
    ideal: str = ""

    @property
    def frame(self) -> Mapping[str, int]:
        middle = {"centre": (LEFT + RIGHT) // 2, "middle": (TOP + BOTTOM) // 2}
        outside = {"under": BOTTOM + 18, "below": BOTTOM + 42, "beside": LEFT - 8}
        size = {"width": WIDTH, "height": HEIGHT}
        return {"left": LEFT, "right": RIGHT, "top": TOP, "bottom": BOTTOM} | middle | outside | size

    @property
    def words(self) -> str:
        """Return the whole plot in words, for whoever cannot see it."""
        return f"{self.title}: {'; '.join(dot.words for dot in self.dots)}."


@dataclass(frozen=True, slots=True)
class _Axis:
    low: float
    high: float
    start: int
    end: int

    def at(self, value: float) -> str:
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return f"{self.start + share * (self.end - self.start):.1f}"

    def ticks(self, step: float) -> tuple[Tick, ...]:
        count = round((self.high - self.low) / step)
        values = [self.low + number * step for number in range(count + 1)]
        return tuple(Tick(place=self.at(value), label=f"{value:.0%}") for value in values)


def reliability(bins: Any) -> Plot | None:
    """Return how often decisions of each confidence were right; ``bins`` are those of measures.calibration."""
    rows = list(_rows(bins, "confidence", "accuracy", "count"))
    if not rows:
        return None
    x, y = _Axis(0, 1, LEFT, RIGHT), _Axis(0, 1, BOTTOM, TOP)
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
        line=_joined((x.at(confidence), y.at(accuracy)) for confidence, accuracy, _ in rows),
        ideal=_joined([(x.at(0), y.at(0)), (x.at(1), y.at(1))]),
    )


def coverage(points: Any) -> Plot | None:
    """Return what share would be right if only what reaches a confidence were decided.

    ``points`` are those of measures.coverage.
    """
    rows = [row for row in _rows(points, "decided", "right", "threshold") if row[0] > 0]
    if not rows:
        return None
    x, y = _Axis(0, 1, LEFT, RIGHT), _accuracies([right for _, right, _ in rows])
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
        line=_joined((x.at(decided), y.at(right)) for decided, right, _ in rows),
    )


def versions(rows: Sequence[tuple[int, Any, bool]]) -> Plot | None:
    """Return the accuracy of classifiers, the oldest first; a row is a number, an accuracy and whether it decides."""
    known = [(number, accuracy, active) for number, accuracy, active in rows if _is_number(accuracy)]
    if not known:
        return None
    x, y = _Axis(-0.5, len(known) - 0.5, LEFT, RIGHT), _accuracies([accuracy for _, accuracy, _ in known])
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
        line=_joined((x.at(place), y.at(accuracy)) for place, (_, accuracy, _) in enumerate(known)),
    )


def _accuracies(values: Iterable[float]) -> _Axis:
    """Return an axis from a round tenth below the lowest of ``values`` to 1."""
    low = math.floor(min(min(values), 1.0) * 10 - 0.5) / 10
    return _Axis(min(max(low, 0.0), 0.9), 1, BOTTOM, TOP)


def _joined(points: Iterable[tuple[str, str]]) -> str:
    return " ".join(f"{x},{y}" for x, y in points)


def _rows(found: Any, *names: str) -> Iterable[tuple[float, float, float]]:
    for row in found if isinstance(found, list | tuple) else ():
        values: list[Any] = [row.get(name) for name in names] if isinstance(row, Mapping) else [None]
        if all(map(_is_number, values)):
            first, second, third = values
            yield first, second, third


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
