"""Ingestion as it goes on, on a terminal or in a log."""

import shutil
import time
from collections import Counter
from collections.abc import Callable

from knowledge.foreground import FAILED, Outcome
from knowledge.models import Stage
from routing.management.progress import BAR_WIDTH, DRAW_SECONDS, STEP_PERCENT, Terminal, duration


def bar(done: int, total: int, seconds: float, now: str) -> str:
    """Return the line on a terminal: how many documents are done, how long the rest may take, and what is read now."""
    percent = 100 * done // total if total else 0
    filled = BAR_WIDTH * percent // 100
    line = f"[{'#' * filled}{'-' * (BAR_WIDTH - filled)}] {done} of {total}"
    if 0 < done < total:
        line += f"  {duration(seconds / done * (total - done))} left"
    return f"{line}  {now}" if now else line


class IngestionDisplay:
    """Shows how documents come in: one line that is drawn again on a terminal, few plain lines anywhere else."""

    def __init__(self, out: Terminal, clock: Callable[[], float] = time.monotonic) -> None:
        self._out = out
        self._clock = clock
        self._began = clock()
        self._drawn_at = float("-inf")
        self._percent = 0
        self._is_terminal = out.isatty()
        self._open = False
        self.total = 0
        self.results: Counter[str] = Counter()
        self.failures: list[Outcome] = []

    @property
    def seconds(self) -> float:
        return self._clock() - self._began

    def progress(self, name: str, stage: Stage, done: int, total: int) -> None:
        """Show what is done with one document."""
        if self._is_terminal:
            much = f" {done}/{total}" if total else ""
            self._draw(f"{name}: {stage.label}{much}")

    def outcome(self, outcome: Outcome) -> None:
        """Count a document that is done, and tell at once if it failed."""
        self.results[outcome.result] += 1
        done = self.results.total()
        if outcome.result == FAILED:
            self.failures.append(outcome)
            self.end()
            self._out.write(f"failed: {outcome.name}: {outcome.reason}")
        if self._is_terminal:
            self._draw(outcome.name, at_once=done == self.total)
        elif self.total and 100 * done // self.total >= self._percent + STEP_PERCENT:
            self._percent = 100 * done // self.total
            self._out.write(f"{done} of {self.total} documents")
            self._out.flush()

    def end(self) -> None:
        """Leave the drawn line behind, so that what follows has a line of its own."""
        if self._open:
            self._out.write("")
            self._open = False

    def summary(self) -> str:
        """Return how it went, as "3 created, 40 unchanged in 12 s"."""
        counts = ", ".join(f"{self.results[name]} {name}" for name in ("created", "updated", "unchanged", FAILED))
        kinds = ", ".join(part for part in counts.split(", ") if not part.startswith("0 "))
        return f"{kinds or 'nothing'} in {duration(self.seconds)}"

    def _draw(self, now: str, *, at_once: bool = False) -> None:
        clock = self._clock()
        if clock - self._drawn_at < DRAW_SECONDS and not at_once:
            return
        self._drawn_at = clock
        width = shutil.get_terminal_size().columns - 1
        # Back to the start of the line, and away with what is longer than the new one.
        line = bar(self.results.total(), self.total, self.seconds, now)
        self._out.write(f"\r{line[:width]}\x1b[K", ending="")
        self._out.flush()
        self._open = True
