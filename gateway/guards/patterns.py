"""Patterns: where in a text something stands, also while the text is still coming. Pure.

A text that comes in pieces is looked through from left to right. What may go out is what stands before the first place
at which a pattern could still come to fit if more text came; ``regex`` can tell (partial matches). So no more is held
back than must be, and what is found does not depend on where the pieces were cut.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import regex  # type: ignore[import-untyped]

from gateway.guards.findings import Span

CONTEXT = 160
"""Characters before a place that a pattern may look back at."""
LONGEST = 8_192
"""Characters of a finding, at most."""
_NEVER = "\U0010ffff"  # no character: a pattern that ends with it never fits, but may be on the way to
_BORDERS = frozenset({r"\b", r"\B", r"\m"})
# An escape; a set, in which \b is no border; a repetition that takes as little as it can.
_PIECE = regex.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|(?P<times>[*+?]|\{\d*,?\d*\})\?", regex.DOTALL)
SECONDS_PER_CHARACTER = 2e-7
TOO_LONG = "a pattern took too long"
Gate = Callable[[str, int], object]
"""Whether, by a quick look at a text from some place on, a pattern may fit in it: a compiled expression's search."""


class Undecided(Exception):
    """A check could not tell; the message says why. ``owner`` is the guard whose pattern it was."""

    def __init__(self, message: str, *, owner: str = "") -> None:
        super().__init__(message)
        self.owner = owner


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """An expression and what it finds; of its matches those count that ``accepts`` takes.

    A text without any of ``hints``, or that does not pass one of ``gates``, has no match: those are quick to look for.
    ``seconds`` is how long a search may take, None for one that takes time in proportion to the text.
    ``looks_back`` is whether it looks at more than one character before.
    """

    category: str
    label: str
    expression: Any
    accepts: Callable[[str], bool] | None = None
    hints: tuple[str, ...] = ()
    gates: tuple[Gate, ...] = ()
    seconds: float | None = None
    longest: int = LONGEST
    owner: str = ""
    looks_back: bool = False

    def first(self, text: str, start: int) -> Span | None:
        """Return the first finding that begins at ``start`` or later; raises Undecided."""
        timeout = None if self.seconds is None else self.seconds + SECONDS_PER_CHARACTER * (len(text) - start)
        while True:
            try:
                match = self.expression.search(text, start, timeout=timeout)
            except TimeoutError:
                raise Undecided(TOO_LONG, owner=self.owner) from None
            if match is None:
                return None
            begin, end = match.span()
            if begin < end <= begin + self.longest and (self.accepts is None or self.accepts(match[0])):
                return Span(start=begin, end=end, category=self.category, label=self.label)
            start = begin + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Patterns:
    """Several patterns, and the expressions that tell where one of them may yet come to fit."""

    patterns: tuple[Pattern, ...]
    growing: tuple[Any, ...]
    seconds: float | None = None
    longest: int = LONGEST
    owner: str = ""

    @classmethod
    def together(cls, patterns: Iterable[Pattern]) -> "Patterns":
        """Return patterns of our own; their groups have names, each its own, so that they can be one expression.

        Those that look back cannot: in regex 2026.11 they make others of the expression seem to be on the way at places
        where they are not, and text would be held back for nothing.
        """
        patterns = tuple(patterns)
        near = "|".join(f"(?:{pattern.expression.pattern})" for pattern in patterns if not pattern.looks_back)
        far = (_growing(pattern.expression) for pattern in patterns if pattern.looks_back)
        return cls(patterns=patterns, growing=(*((regex.compile(f"(?:{near}){_NEVER}"),) if near else ()), *far))

    @classmethod
    def apart(cls, patterns: Iterable[Pattern], *, seconds: float, longest: int, owner: str) -> "Patterns":
        """Return patterns that somebody else wrote, each held to its time; ``owner`` is the guard they are of."""
        patterns = tuple(patterns)
        growing = tuple(_growing(pattern.expression) for pattern in patterns)
        return cls(patterns=patterns, growing=growing, seconds=seconds, longest=longest, owner=owner)

    def open_from(self, text: str, start: int) -> int:
        """Return where at or after ``start`` something begins that more text may make a finding.

        The text's length, if nothing does. Raises Undecided.
        """
        start = max(start, len(text) - self.longest)
        return min((self._grows_from(expression, text, start) for expression in self.growing), default=len(text))

    def _grows_from(self, expression: Any, text: str, start: int) -> int:
        try:
            match = expression.search(text, start, partial=True, timeout=self.seconds)
        except TimeoutError:
            raise Undecided(TOO_LONG, owner=self.owner) from None
        return match.start() if match else len(text)

    def cursors(self, text: str, start: int) -> "list[Cursor]":
        """Return the cursors of those patterns that may fit in ``text`` at or after ``start``; raises Undecided."""
        known: dict[tuple[Gate, int], bool] = {}

        def passes(gate: Gate, since: int) -> bool:
            if (gate, since) not in known:
                known[gate, since] = bool(gate(text, since))
            return known[gate, since]

        found = []
        for pattern in self.patterns:
            since = max(0, start - CONTEXT) if pattern.looks_back else start
            if pattern.hints and all(text.find(hint, since) < 0 for hint in pattern.hints):
                continue
            if all(passes(gate, since) for gate in pattern.gates):
                found.append(Cursor(pattern, text, start))
        return found

    def spans(self, text: str) -> list[Span]:
        """Return what a whole text holds, from left to right, nothing twice; raises Undecided."""
        cursors = self.cursors(text, 0)
        found, place = [], 0
        while (span := first_of(cursors, place)) is not None:
            found.append(span)
            place = span.end
        return found


def _growing(expression: Any) -> Any:
    end = "\n" if expression.flags & regex.VERBOSE else ""  # after a comment that may be its last
    return regex.compile(f"(?:{_open_ended(expression.pattern)}{end}){_NEVER}", expression.flags)


def _open_ended(pattern: str) -> str:
    """Return an expression that more text may bring to fit wherever it may bring ``pattern`` to.

    In regex 2026.11 a partial match takes the end of the text for a border of words or for none, where the next
    character would decide; and a lazy repetition before a look at what stands there (``.*?\\b``) does not grow.
    """

    def opened(piece: "regex.Match[str]") -> str:
        if piece[0] in _BORDERS:
            return rf"(?:{piece[0]}|\Z)"
        return str(piece["times"] or piece[0])

    return str(_PIECE.sub(opened, pattern))


class Cursor:
    """The findings of one pattern in one text, asked for from left to right; raises Undecided."""

    __slots__ = ("_next", "_pattern", "_text")

    def __init__(self, pattern: Pattern, text: str, start: int) -> None:
        self._pattern = pattern
        self._text = text
        self._next = pattern.first(text, start)

    def at(self, start: int) -> Span | None:
        """Return the first that begins at ``start`` or later."""
        if self._next is not None and self._next.start < start:
            self._next = self._pattern.first(self._text, start)
        return self._next


def first_of(cursors: Iterable[Cursor], start: int) -> Span | None:
    """Return the first finding of several at or after ``start``; of those that begin together the longest."""
    spans = (span for cursor in cursors if (span := cursor.at(start)) is not None)
    return min(spans, key=lambda span: (span.start, -span.end), default=None)
