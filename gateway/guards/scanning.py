"""A text that comes in pieces: masks in place of what must not go out, an end where it must not go on. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gateway.guards.findings import Span
from gateway.guards.patterns import CONTEXT, Patterns, Undecided

Replace = Callable[[Span, str], str]
"""What takes the place of a finding: of the span, and of the text it had."""
Goes = Callable[[Undecided], bool]
"""Whether a text goes on without a check that could not tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Masker:
    patterns: Patterns
    replace: Replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Refuser:
    patterns: Patterns
    refuse: Callable[[Span], None]


class Scanner:
    """Masks what ``maskers`` find and stops before what a refuser finds, or where a check cannot tell.

    All look at the text as it came. Of findings that overlap the one that begins first is masked, of those that begin
    together the longest. The text is held back from where more of it may become a finding.
    """

    def __init__(self, maskers: Sequence[Masker], refusers: Sequence[Refuser] = (), *, goes_on: Goes) -> None:
        self._maskers = list(maskers)
        self._refusers = list(refusers)
        self._goes_on = goes_on
        self._text = ""  # what came, without what lies too far back to be looked at
        self._place = 0  # up to here it went out
        self._seen = 0  # up to here refusers have looked
        self.is_refused = False

    def feed(self, piece: str) -> str:
        """Return what may go out now."""
        self._text += piece
        return self._advanced(last=False)

    def finish(self, piece: str = "") -> str:
        """Return what may go out at the end of the text, of which ``piece`` is the last."""
        self._text += piece
        return self._advanced(last=True)

    def _advanced(self, *, last: bool) -> str:
        while not self.is_refused:
            try:
                return self._advance(last=last)
            except Undecided as error:
                self.is_refused = not self._goes_on(error)
                self._maskers = [one for one in self._maskers if one.patterns.owner != error.owner]
                self._refusers = [one for one in self._refusers if one.patterns.owner != error.owner]
        return ""

    def _advance(self, *, last: bool) -> str:
        """Return what may go out; raises Undecided, and then has changed nothing."""
        until = len(self._text) if last else self._horizon()
        refusal = self._refusal(until)
        shown, self._place = self._masked(refusal[0].start if refusal else until)
        if refusal:
            self.is_refused = True
            refusal[1].refuse(refusal[0])
        self._seen = until
        self._forget()
        return shown

    def _horizon(self) -> int:
        """Return up to where it is settled what is found."""
        places = [one.patterns.open_from(self._text, self._place) for one in self._maskers]
        places += [one.patterns.open_from(self._text, self._seen) for one in self._refusers]
        return min(places, default=len(self._text))

    def _refusal(self, until: int) -> tuple[Span, Refuser] | None:
        """Return the first finding before ``until`` for which the text must end."""
        found = [
            (span, refuser)
            for refuser in self._refusers
            for cursor in refuser.patterns.cursors(self._text, self._seen)
            if (span := cursor.at(self._seen)) is not None and span.start < until
        ]
        return min(found, key=lambda one: one[0].start, default=None)

    def _masked(self, until: int) -> tuple[str, int]:
        """Return the text up to ``until`` with its masks, and where it ends: with the last mask, if that is later."""
        place, shown = self._place, []
        if until <= place:
            return "", place
        cursors = [
            (cursor, masker.replace)
            for masker in self._maskers
            for cursor in masker.patterns.cursors(self._text, place)
        ]
        masks = []
        while place < until:
            spans = [(span, replace) for cursor, replace in cursors if (span := cursor.at(place)) is not None]
            span, replace = min(spans, key=lambda one: (one[0].start, -one[0].end), default=(None, None))
            if span is None or replace is None or span.start >= until:
                break
            shown.append(self._text[place : span.start])
            masks.append((span, replace))
            place = span.end
        shown.append(self._text[place:until])
        # Masks are made at last, as making one counts it.
        made = [replace(span, self._text[span.start : span.end]) for span, replace in masks]
        pieces = [piece for pair in zip(shown, [*made, ""], strict=True) for piece in pair]
        return "".join(pieces), max(place, until)

    def _forget(self) -> None:
        beyond = min(self._place, self._seen) - CONTEXT
        if beyond > CONTEXT:
            self._text = self._text[beyond:]
            self._place -= beyond
            self._seen -= beyond
