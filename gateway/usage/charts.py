"""Sums of usage as bar charts: numbers into the places and sizes of an SVG's parts. Pure."""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

WIDTH, HEIGHT = 900, 180
LEFT, BOTTOM = 60, 24
"""Room for the numbers beside the bars and the times under them."""
SHOWN = 6
"""So many of those that are told apart have a colour of their own; what is left is one more."""
COLOURS = ("#2a78b5", "#e08a2c", "#4f9d53", "#b5483f", "#8467a8", "#857059", "#8c8c8c")
OTHERS, NONE = "others", "none"
LABELS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """What a chart shows of a row of sums: ``over`` None is a sum, else a mean, over that count."""

    name: str
    title: str
    of: tuple[str, ...]
    over: str = ""
    unit: str = ""

    def values(self, row: Mapping[str, Any]) -> tuple[float, float]:
        """Return what is added up over rows: the value and what it is divided by."""
        value = float(sum(row[f"sum_{name}"] or 0 for name in self.of))
        return value, float(row[f"sum_{self.over}"] or 0) if self.over else 1.0


MEASURES = (
    Measure(name="requests", title="Requests", of=("requests",)),
    Measure(name="tokens", title="Tokens read and written", of=("prompt_tokens", "completion_tokens")),
    Measure(name="cost", title="Cost", of=("cost",)),
    Measure(
        name="first",
        title="Time to the first piece, on average",
        of=("first_token_ms",),
        over="first_tokens",
        unit="ms",
    ),
    Measure(name="errors", title="Requests that failed", of=("errors",)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    x: float
    y: float
    width: float
    height: float
    colour: str
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    x: float
    y: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    title: str
    bars: tuple[Bar, ...]
    times: tuple[Label, ...]
    values: tuple[Label, ...]
    total: str

    width: int = WIDTH
    height: int = HEIGHT


@dataclass(frozen=True, slots=True, kw_only=True)
class Name:
    """One of those that are told apart, and its colour in all charts."""

    text: str
    colour: str


def names_of(rows: Iterable[Mapping[str, Any]], column: str) -> tuple[Name, ...]:
    """Return what is shown by itself, most requests first, and the others as one where there are more."""
    counts: dict[str, int] = {}
    for row in rows:
        name = _name(row, column)
        counts[name] = counts.get(name, 0) + row["sum_requests"]
    ranked = sorted(counts, key=lambda name: (-counts[name], name))
    shown = [*ranked[:SHOWN], *((OTHERS,) if len(ranked) > SHOWN else ())]
    return tuple(Name(text=name, colour=colour) for name, colour in zip(shown, COLOURS, strict=False))


def _name(row: Mapping[str, Any], column: str) -> str:
    return str(row[column]) or NONE


def chart(
    measure: Measure,
    rows: Sequence[Mapping[str, Any]],
    *,
    column: str,
    names: Sequence[Name],
    times: Sequence[dt.datetime],
    form: str,
) -> Chart:
    """Return a chart of ``measure``, with a bar for each of ``times``, written as ``form`` says.

    Sums stand on each other, a part for each name; a mean is one bar for all of them.
    """
    columns = _columns(measure, rows, column, names)
    highest = max((sum(parts.values()) for parts in columns.values()), default=0.0) or 1.0
    step = (WIDTH - LEFT) / max(1, len(times))
    colours = {name.text: name.colour for name in names}
    bars: list[Bar] = []
    for place, at in enumerate(times):
        top = float(HEIGHT - BOTTOM)
        for name, value in columns.get(at, {}).items():
            height = value / highest * (HEIGHT - BOTTOM - 10)
            top -= height
            words = (
                f"{at:{form}} {name}: {_written(value, measure)}"
                if name
                else f"{at:{form}}: {_written(value, measure)}"
            )
            bars.append(
                Bar(
                    x=round(LEFT + place * step + 1, 2),
                    y=round(top, 2),
                    width=round(max(1.0, step - 2), 2),
                    height=round(height, 2),
                    colour=colours.get(name, COLOURS[0]),
                    title=words,
                )
            )
    every = -(-len(times) // LABELS) or 1
    return Chart(
        title=measure.title,
        bars=tuple(bars),
        times=tuple(
            Label(x=round(LEFT + place * step, 2), y=HEIGHT - 8, text=f"{at:{form}}")
            for place, at in enumerate(times)
            if place % every == 0
        ),
        values=(
            Label(x=LEFT - 6, y=14, text=_written(highest, measure)),
            Label(x=LEFT - 6, y=HEIGHT - BOTTOM, text="0"),
        ),
        total=_written(_together(measure, rows), measure),
    )


def _columns(
    measure: Measure, rows: Iterable[Mapping[str, Any]], column: str, names: Sequence[Name]
) -> dict[dt.datetime, dict[str, float]]:
    """Return the height of each part of each bar, by time and name."""
    places = {name.text: place for place, name in enumerate(names)}
    found: dict[dt.datetime, dict[str, tuple[float, float]]] = {}
    for row in rows:
        name = "" if measure.over else _name(row, column)
        if name and name not in places:
            name = OTHERS
        value, over = measure.values(row)
        parts = found.setdefault(row["bucket"], {})
        known, known_over = parts.get(name, (0.0, 0.0))
        parts[name] = known + value, known_over + over
    return {
        at: {
            name: value / over if measure.over else value
            for name, (value, over) in sorted(parts.items(), key=lambda part: places.get(part[0], SHOWN))
            if over
        }
        for at, parts in found.items()
    }


def _together(measure: Measure, rows: Iterable[Mapping[str, Any]]) -> float:
    pairs = [measure.values(row) for row in rows]
    value = sum(one for one, _ in pairs)
    if not measure.over:
        return value
    over = sum(count for _, count in pairs)
    return value / over if over else 0.0


def _written(value: float, measure: Measure) -> str:
    words = f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:,.4g}"
    return f"{words} {measure.unit}".strip()


def times_between(start: dt.datetime, end: dt.datetime, bucket: str) -> list[dt.datetime]:
    """Return the times at which buckets begin, in UTC."""
    at = start.replace(minute=0, second=0, microsecond=0)
    step = dt.timedelta(hours=1)
    if bucket == "day":
        at, step = at.replace(hour=0), dt.timedelta(days=1)
    times = []
    while at < end:
        times.append(at)
        at += step
    return times
