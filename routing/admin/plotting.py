"""What plots are made of: places on a canvas, which plot.html draws. Pure.

Places are texts, so that no locale writes them with commas.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

WIDTH, HEIGHT = 460, 320
LEFT, RIGHT, TOP, BOTTOM = 52, 444, 28, 268


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
class Axis:
    """Values from ``low`` to ``high`` as places from ``start`` to ``end``."""

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


def upper_shares(values: Iterable[float]) -> Axis:
    """Return an axis from a round tenth below the lowest of ``values`` to 1."""
    low = math.floor(min(min(values), 1.0) * 10 - 0.5) / 10
    return Axis(min(max(low, 0.0), 0.9), 1, BOTTOM, TOP)


def joined(points: Iterable[tuple[str, str]]) -> str:
    """Return points as SVG has them."""
    return " ".join(f"{x},{y}" for x, y in points)


def is_number(value: Any) -> bool:
    """Tell whether ``value`` can be drawn."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
