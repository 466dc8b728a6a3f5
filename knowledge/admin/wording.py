"""Numbers and texts as sentences have them."""

import datetime as dt


def counted(number: int, noun: str, plural: str = "") -> str:
    """Return ``number`` with its noun: "1 document", "1,200 documents"."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def times(number: int) -> str:
    return {1: "once", 2: "twice"}.get(number, f"{number:,} times")


def excerpt(text: str, length: int) -> str:
    """Return the start of ``text`` in one line."""
    line = " ".join(text[: 4 * length].split())
    return f"{line[: length - 1].rstrip()}…" if len(line) > length or len(text) > 4 * length else line


def duration(took: dt.timedelta) -> str:
    seconds = max(0.0, took.total_seconds())
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
