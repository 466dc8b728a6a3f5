"""How far a download is, on a terminal or in a log."""

import shutil
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

from django.template.defaultfilters import filesizeformat

from routing.modelcare import PullProgress

BAR_WIDTH = 24
SPEED_SECONDS = 5.0
DRAW_SECONDS = 0.1
STEP_PERCENT = 10


class Terminal(Protocol):
    """What is written to: a command's stdout."""

    def write(self, msg: str = "", style_func: None = None, ending: str | None = None) -> object: ...
    def flush(self) -> object: ...
    def isatty(self) -> bool: ...


def size(number: float) -> str:
    """Return a number of bytes for people, with plain spaces."""
    return filesizeformat(int(number)).replace("\xa0", " ")


def duration(seconds: float) -> str:
    """Return a time left such as "45 s", "3 min 05 s" or "2 h 10 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


class Speed:
    """Bytes a second over the last few seconds; what an earlier pull brought does not count."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int]] = deque()

    def feed(self, now: float, completed: int) -> float:
        self._samples.append((now, completed))
        while len(self._samples) > 2 and now - self._samples[0][0] > SPEED_SECONDS:
            self._samples.popleft()
        (then, before) = self._samples[0]
        return max(0.0, (completed - before) / (now - then)) if now > then else 0.0


def bar(progress: PullProgress, speed: float) -> str:
    """Return a pull's line on a terminal; without a size yet, its status alone."""
    if not progress.total:
        return progress.status
    filled = BAR_WIDTH * progress.percent // 100
    line = (
        f"[{'#' * filled}{'-' * (BAR_WIDTH - filled)}] {progress.percent:3}%  "
        f"{size(progress.completed)} of {size(progress.total)}"
    )
    left = progress.total - progress.completed
    if left > 0 and speed > 0:
        return f"{line}  {size(speed)}/s  {duration(left / speed)} left"
    return line if left > 0 else f"{line}  {progress.status}"


class PullDisplay:
    """Shows a pull: one line that is drawn again on a terminal, few plain lines anywhere else."""

    def __init__(self, out: Terminal, clock: Callable[[], float] = time.monotonic) -> None:
        self._out = out
        self._clock = clock
        self._speed = Speed()
        self._drawn_at = float("-inf")
        self._status = ""
        self._percent = -STEP_PERCENT
        self._is_terminal = out.isatty()
        self._open = False

    def show(self, progress: PullProgress) -> None:
        if self._is_terminal:
            self._draw(progress)
        else:
            self._tell(progress)

    def end(self) -> None:
        """Leave the drawn line behind, so that what follows has a line of its own."""
        if self._open:
            self._out.write("")
            self._open = False

    def _draw(self, progress: PullProgress) -> None:
        now = self._clock()
        speed = self._speed.feed(now, progress.completed)
        if now - self._drawn_at < DRAW_SECONDS and progress.status == self._status:
            return
        self._drawn_at, self._status = now, progress.status
        width = shutil.get_terminal_size().columns - 1
        # Back to the start of the line, and away with what is longer than the new one.
        self._out.write(f"\r{bar(progress, speed)[:width]}\x1b[K", ending="")
        self._out.flush()
        self._open = True

    def _tell(self, progress: PullProgress) -> None:
        if progress.total and progress.completed < progress.total:
            # Layers arrive side by side, each with its status in turn; only the whole is worth a line.
            if progress.percent < self._percent + STEP_PERCENT:
                return
            self._percent = progress.percent - progress.percent % STEP_PERCENT
            line = f"{progress.percent}% ({size(progress.completed)} of {size(progress.total)})"
        elif (progress.status.startswith("pulling ") and progress.total) or progress.status == self._status:
            return
        else:
            line = self._status = progress.status
        self._out.write(line)
        self._out.flush()
