"""What was found of the door: tables, JSON, and the parts of a chat beside the whole. Pure."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from tests.benchmarks.door.timing import Measured, Part, Variant
from tests.benchmarks.report import Figure, number, table

MICROSECONDS = 1_000_000
COLUMNS = "off", "default", "on"
"""How a chat is measured as a whole: with everything off, as installed, and with everything on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A variant's microseconds a request, by the clock and of processors.

    ``more`` and ``more_cpu`` are how many more they are than those of what it stands beside, None where that is itself.
    """

    part: str
    variant: str
    wall: Figure
    cpu: Figure
    more: Figure | None
    more_cpu: Figure | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Total:
    """A sum beside the whole that it should be, in microseconds of processors.

    All are of the lowest rounds: what else the machine does only adds to a figure, and the differences here are small.
    By the clock nothing adds up on a machine that has other work, as who waits for a processor does so in each part.
    """

    column: str
    terms: Mapping[str, float]
    whole: float

    @property
    def together(self) -> float:
        return sum(self.terms.values())

    @property
    def left_over(self) -> float:
        return self.whole - self.together


@dataclass(slots=True, kw_only=True)
class DoorReport:
    """The parts in the order they were measured; ``about`` tells of the machine and the plan."""

    about: dict[str, Any]
    found: list[tuple[Part, Mapping[str, Measured]]] = field(default_factory=list)

    def rows(self) -> Iterator[Row]:
        for part, measured in self.found:
            for variant in part.variants:
                yield _row(part, variant, measured)

    def parts(self) -> list[Total]:
        """Return, for a chat with everything off, as installed and with everything on, what its parts cost alone."""
        rows = self._by_name()
        return [
            Total(
                column=column,
                terms={
                    part.name: rows[part.name, variant.name].cpu.low
                    for part, _ in self.found
                    if not part.is_whole
                    for variant in part.variants
                    if column in variant.columns
                },
                whole=rows[whole.name, column].cpu.low,
            )
            for whole in self._wholes()
            for column in COLUMNS
        ]

    def steps(self) -> list[Total]:
        """Return what each thing that is switched on adds to a chat, as installed and with everything on."""
        rows = self._by_name()

        def added(whole: Part, variant: Variant) -> float:
            beside = variant.beside or whole.variants[0].name
            return rows[whole.name, variant.name].cpu.low - rows[whole.name, beside].cpu.low

        return [
            Total(
                column=variant.name,
                terms={step.name: added(whole, step) for step in whole.variants if variant.name in step.columns},
                whole=added(whole, variant),
            )
            for whole in self._wholes()
            for variant in whole.variants
            if variant.name in COLUMNS[1:]
        ]

    def _wholes(self) -> Iterator[Part]:
        return (part for part, _ in self.found if part.is_whole)

    def _by_name(self) -> dict[tuple[str, str], Row]:
        return {(row.part, row.variant): row for row in self.rows()}

    def wholes(self) -> Iterator[tuple[str, float, float]]:
        """Yield the wholes, without steps, with their requests' median and 99th percentile in microseconds."""
        for part, measured in self.found:
            for variant in part.variants if part.is_whole else ():
                if not variant.beside:
                    ordered = sorted(measured[variant.name].each)
                    slow = ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)]
                    yield variant.name, statistics.median(ordered), slow

    # --- out ------------------------------------------------------------------------------------------------

    def as_json(self) -> dict[str, Any]:
        return {
            "about": self.about,
            "microseconds": [asdict(row) for row in self.rows()],
            "parts": [_sum(total) for total in self.parts()],
            "steps": [_sum(total) for total in self.steps()],
            "wholes": [{"variant": name, "p50": p50, "p99": p99} for name, p50, p99 in self.wholes()],
        }

    def as_text(self) -> str:
        alone = _sums("what each part costs alone, lowest µs of processors", self.parts(), "a chat")
        added = _sums("what each thing adds to a chat, lowest µs of processors", self.steps(), "all of it")
        tables = [self._parts_table(), alone, added, self._wholes_table()]
        return "\n\n".join("\n".join(lines) for lines in tables)

    def _parts_table(self) -> Iterator[str]:
        rows: list[list[str]] = [["µs a request", "by the clock", "more", "of processors", "more"]]
        known = self._by_name()
        for part, _ in self.found:
            rows += [[], [f"{part.name}: {part.note}"]]
            for variant in part.variants:
                row = known[part.name, variant.name]
                told = (str(row.wall), _more(row.more), number(row.cpu.median), _more(row.more_cpu))
                rows.append([f"  {variant.name}", *told])
        return table(rows)

    def _wholes_table(self) -> Iterator[str]:
        wholes = list(self.wholes())
        rows = [["a chat, one after the other", "requests/s", "p50 ms", "p99 ms", "added p50 ms", "added p99 ms"]]
        for name, p50, p99 in wholes:
            _, first50, first99 = wholes[0]
            times = [f"{one / 1000:.3f}" for one in (p50, p99)]
            added = [f"{one / 1000:+.3f}" for one in (p50 - first50, p99 - first99)]
            rows.append([f"  {name}", number(MICROSECONDS / p50), *times, *added])
        return table(rows)


def _row(part: Part, variant: Variant, measured: Mapping[str, Measured]) -> Row:
    found = measured[variant.name]
    beside = variant.beside or part.variants[0].name
    other = None if beside == variant.name else measured[beside]
    return Row(
        part=part.name,
        variant=variant.name,
        wall=_figure(found.wall),
        cpu=_figure(found.cpu),
        more=_difference(found.wall, other.wall) if other else None,
        more_cpu=_difference(found.cpu, other.cpu) if other else None,
    )


def _difference(those: Sequence[float], others: Sequence[float]) -> Figure:
    # Of the same round: what the machine was busy with in it was the same for both.
    return _figure([one - other for one, other in zip(those, others, strict=True)])


def _figure(values: Sequence[float]) -> Figure:
    figure = Figure.of(values)
    assert figure is not None
    return figure


def _sum(total: Total) -> dict[str, Any]:
    return asdict(total) | {"together": total.together, "left_over": total.left_over}


def _sums(title: str, totals: Sequence[Total], whole: str) -> Iterator[str]:
    names = list(dict.fromkeys(name for total in totals for name in total.terms))
    rows = [[title, *(total.column for total in totals)]]
    rows += [[f"  {name}", *(_shown(total.terms.get(name)) for total in totals)] for name in names]
    rows.append(["together", *(_shown(total.together) for total in totals)])
    rows.append([whole, *(_shown(total.whole) for total in totals)])
    rows.append(["  not in the sum", *(f"{total.left_over / total.whole:+.0%}" for total in totals)])
    return table(rows)


def _more(value: Figure | None) -> str:
    return f"{value.median:+,.1f}" if value else ""


def _shown(value: float | None) -> str:
    return "" if value is None else number(value)
