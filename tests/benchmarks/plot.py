"""A line plot with logarithmic axes as SVG, for figures that are kept beside the text that speaks of them."""

import math
from collections.abc import Mapping, Sequence
from html import escape

WIDTH, HEIGHT = 640, 360
LEFT, RIGHT, TOP, BOTTOM = 60, 170, 30, 45
COLOURS = ("#1b6ca8", "#7fb3d8", "#b5541c", "#e6b08f")


def plotted(title: str, x_label: str, y_label: str, lines: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """Return an SVG of ``lines``, each a list of points with positive coordinates."""
    points = [point for line in lines.values() for point in line]
    x, y = _Axis([x for x, _ in points], LEFT, WIDTH - RIGHT), _Axis([y for _, y in points], HEIGHT - BOTTOM, TOP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        'font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        _text(LEFT, TOP - 12, title, size=13),
        _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, x_label, anchor="middle"),
        _text(8, TOP + 4, y_label),
    ]
    for value in x.ticks:
        parts.append(_line(x.at(value), TOP, x.at(value), HEIGHT - BOTTOM))
        parts.append(_text(x.at(value), HEIGHT - BOTTOM + 16, f"{value:,.0f}", anchor="middle"))
    for value in y.ticks:
        parts.append(_line(LEFT, y.at(value), WIDTH - RIGHT, y.at(value)))
        parts.append(_text(LEFT - 6, y.at(value) + 4, f"{value:g}", anchor="end"))
    for number, (name, line) in enumerate(lines.items()):
        colour = COLOURS[number % len(COLOURS)]
        path = " ".join(f"{x.at(one):.1f},{y.at(other):.1f}" for one, other in line)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x.at(one):.1f}" cy="{y.at(other):.1f}" r="3" fill="{colour}"/>' for one, other in line]
        parts.append(_text(WIDTH - RIGHT + 12, TOP + 14 + 18 * number, name, colour=colour))
    return "\n".join([*parts, "</svg>\n"])


class _Axis:
    """Values on a logarithmic scale between two places in the picture."""

    def __init__(self, values: Sequence[float], start: float, end: float) -> None:
        self._low, self._high = math.log10(min(values)), math.log10(max(values))
        self._start, self._end = start, end
        decades = range(math.floor(self._low), math.ceil(self._high) + 1)
        candidates = [step * 10.0**decade for decade in decades for step in (1, 2, 5)]
        self.ticks = [one for one in candidates if min(values) <= one <= max(values)]

    def at(self, value: float) -> float:
        share = (math.log10(value) - self._low) / ((self._high - self._low) or 1)
        return self._start + share * (self._end - self._start)


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="#ddd"/>'


def _text(x: float, y: float, text: str, *, anchor: str = "start", colour: str = "#333", size: int = 12) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}" font-size="{size}">{escape(text)}</text>'
    )
