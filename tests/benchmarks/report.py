"""What a run found: medians and spread over its rounds, as a table and as JSON. Pure."""

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from tests.benchmarks.load import Measurement

GATEWAY, LITELLM, STUB = "gateway", "litellm", "stub"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One kind of load: small chats, or streams of ``tokens`` tokens, on so many connections."""

    connections: int
    stream: bool = False
    tokens: int = 0

    @property
    def name(self) -> str:
        return f"{'stream' if self.stream else 'chat'}-{self.connections}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One measurement of one target; ``cpu_seconds`` is what the target's processes used meanwhile."""

    case: Case
    target: str
    number: int
    measurement: Measurement
    cpu_seconds: float

    @property
    def cpu_ms_per_request(self) -> float | None:
        return self.cpu_seconds * 1000 / self.measurement.done if self.measurement.done else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Resident bytes of a target's answering process, before the first request and after the last."""

    before: int
    after: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A median over rounds, with the lowest and the highest."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Figure | None":
        return cls(median=statistics.median(values), low=min(values), high=max(values)) if values else None

    def __str__(self) -> str:
        if self.low == self.high:
            return number(self.median)
        return f"{number(self.median)} ({number(self.low)}…{number(self.high)})"


@dataclass(slots=True, kw_only=True)
class Report:
    """The rounds of a run, in the order they ran, and what is worth saying of the machine and the versions."""

    about: dict[str, Any]
    rounds: list[Round] = field(default_factory=list)
    memory: dict[str, Memory] = field(default_factory=dict)

    @property
    def failed(self) -> int:
        return sum(found.measurement.failed for found in self.rounds)

    def errors(self) -> Iterator[str]:
        for found in self.rounds:
            if found.measurement.failed:
                where = f"round {found.number} {found.target} {found.case.name}"
                yield f"{where}: {found.measurement.failed} failed: {' '.join(found.measurement.error.split())}"

    def targets(self) -> list[str]:
        return list(dict.fromkeys(found.target for found in self.rounds))

    def cases(self) -> list[Case]:
        return list(dict.fromkeys(found.case for found in self.rounds))

    def figure(self, case: Case, target: str, read: Callable[[Round], float | None]) -> Figure | None:
        values = [read(found) for found in self.rounds if (found.case, found.target) == (case, target)]
        return Figure.of([value for value in values if value is not None])

    def added_ms(self, case: Case, target: str) -> Figure | None:
        """Return by how much ``target`` delays an answer: its median less the stub's of the same round."""
        medians = {
            (found.number, found.target): found.measurement.median_ms for found in self.rounds if found.case == case
        }
        added = []
        for (round_number, name), median in medians.items():
            direct = medians.get((round_number, STUB))
            if name == target and median is not None and direct is not None:
                added.append(median - direct)
        return Figure.of(added)

    # --- out ------------------------------------------------------------------------------------------------

    def lines(self) -> Iterator[tuple[Case, str, Mapping[str, Figure]]]:
        """Yield a case, what was measured in it, and each target's figure."""
        for case in self.cases():
            for title, read in STREAM_READINGS.items() if case.stream else CHAT_READINGS.items():
                figures = {target: self.figure(case, target, read) for target in self.targets()}
                yield case, title, {target: figure for target, figure in figures.items() if figure}
            if case.connections == 1 and not case.stream:
                figures = {target: self.added_ms(case, target) for target in self.targets() if target != STUB}
                yield case, "added median ms", {target: figure for target, figure in figures.items() if figure}

    def comparison(self) -> dict[str, float]:
        """Return the gateway's median as a multiple of LiteLLM's: requests and tokens a second, added latency."""
        return {
            f"{case.name} {title}": round(figures[GATEWAY].median / figures[LITELLM].median, 3)
            for case, title, figures in self.lines()
            if title in ("requests/s", "tokens/s", "added median ms", "first byte ms")
            and GATEWAY in figures
            and LITELLM in figures
            and figures[LITELLM].median
        }

    def as_json(self) -> dict[str, Any]:
        return {
            "about": self.about,
            "figures": [
                {"case": asdict(case), "measured": title, "targets": {name: asdict(one) for name, one in found.items()}}
                for case, title, found in self.lines()
            ],
            "gateway_as_multiple_of_litellm": self.comparison(),
            "memory_bytes": {name: asdict(memory) for name, memory in self.memory.items()},
            "failed_requests": self.failed,
            "errors": list(self.errors()),
            "rounds": [asdict(found) | {"cpu_ms_per_request": found.cpu_ms_per_request} for found in self.rounds],
        }

    def as_text(self) -> str:
        targets = self.targets()
        rows = [["", *targets]]
        for case, title, figures in self.lines():
            rows.append([f"{case.name} {title}", *(str(figures.get(target, "")) for target in targets)])
        rows.append(["RSS MB before → after", *(self._memory(target) for target in targets)])
        if comparison := self.comparison():
            rows += [[], ["gateway as a multiple of LiteLLM", ""]]
            rows += [[f"{name}", f"{ratio:.2f} x"] for name, ratio in comparison.items()]
        if self.failed:
            rows += [[], *([error[:200]] for error in self.errors())]
        return "\n".join(table(rows))

    def _memory(self, target: str) -> str:
        memory = self.memory.get(target)
        return f"{memory.before / 2**20:,.0f} → {memory.after / 2**20:,.0f}" if memory else ""


CHAT_READINGS: Mapping[str, Callable[[Round], float | None]] = {
    "requests/s": lambda found: found.measurement.requests_per_second,
    "median ms": lambda found: found.measurement.median_ms,
    "p95 ms": lambda found: found.measurement.p95_ms,
    "p99 ms": lambda found: found.measurement.p99_ms,
    "CPU ms/request": lambda found: found.cpu_ms_per_request,
}
STREAM_READINGS: Mapping[str, Callable[[Round], float | None]] = {
    "tokens/s": lambda found: found.measurement.tokens_per_second,
    "first byte ms": lambda found: found.measurement.first_byte_ms,
    "first byte p95 ms": lambda found: found.measurement.first_byte_p95_ms,
    "CPU ms/request": lambda found: found.cpu_ms_per_request,
}


def number(value: float) -> str:
    """Return ``value`` with three digits that tell something."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield ``rows`` as lines, cells aligned; a row of one cell stands as it is."""
    columns = max(len(row) for row in rows)
    widths = [max((len(row[at]) for row in rows if len(row) > at and len(row) > 1), default=0) for at in range(columns)]
    for row in rows:
        if len(row) < 2:
            yield "".join(row)
            continue
        first, *rest = row
        cells = [first.ljust(widths[0]), *(cell.rjust(widths[at]) for at, cell in enumerate(rest, 1))]
        yield "  ".join(cells).rstrip()
