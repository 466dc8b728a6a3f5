"""An answer as it comes: what of it may go out, and where it must end. Pure.

Texts are scanned as they come, with as little held back as there must be. Arguments of tool calls and answers in JSON
are held until they are whole: they are read as JSON, so that a mask never breaks them. An answer that has to be judged
as a whole is held until it was.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from gateway.guards.findings import Action, Span
from gateway.guards.guard import Guard
from gateway.guards.patterns import Patterns, Undecided
from gateway.guards.scanning import Masker, Refuser, Scanner
from gateway.guards.spoken import ENOUGH, Spoken
from gateway.guards.texts import json_rewritten
from routing.backends.protocol import Delta, ToolCallDelta

Tell = Callable[[Guard, str], None]
"""Takes note that a guard found something of a category."""
Trouble = Callable[[Guard, Undecided], None]
"""Takes note that a guard could not tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measures:
    """What every answer of a request is held to.

    ``holds`` is whether an answer is held until its end, and ``is_json`` whether it is to be JSON.
    """

    guards: tuple[Guard, ...] = ()
    maskers: tuple[Masker, ...] = ()
    restoring: Masker | None = None
    holds: bool = False
    is_json: bool = False
    tell: Tell
    trouble: Trouble

    @property
    def scans(self) -> bool:
        """Whether what goes out may differ from what comes in."""
        pointing = any(guard.refuses and isinstance(guard.work, Patterns) for guard in self.guards)
        return bool(self.maskers or self.restoring or pointing)

    @property
    def spoken(self) -> tuple[tuple[Guard, Spoken], ...]:
        return tuple((guard, guard.work) for guard in self.guards if isinstance(guard.work, Spoken))

    @property
    def logging(self) -> tuple[tuple[Guard, Patterns], ...]:
        return tuple(
            (guard, guard.work)
            for guard in self.guards
            if isinstance(guard.work, Patterns) and guard.action is Action.LOG
        )


@dataclass(slots=True)
class _Call:
    id: str | None = None
    name: str | None = None
    arguments: list[str] = field(default_factory=list)


class Answer:
    """``refused`` is the guard for which it must not go on; ``text`` what it said so far, with its masks."""

    def __init__(self, measures: Measures, index: int) -> None:
        self._measures = measures
        self.index = index
        self._content, self._reasoning = self._scanner(), self._scanner()
        self._restored = [self._restorer(), self._restorer()]
        self._calls: dict[int, _Call] = {}
        self._raw: list[str] = []
        self._json: list[str] = []
        self._text: list[str] = []
        self._waiting: list[Delta] = []
        self._waits = measures.holds or any(guard.refuses for guard, _ in measures.spoken)
        self.refused: Guard | None = None
        self.has_spoken = self.has_ended = False
        self.lost_logprobs = False
        self._is_heard = False

    @property
    def text(self) -> str:
        return "".join(self._text)

    def take(self, delta: Delta) -> list[Delta]:
        """Return what may go out now."""
        if self.refused:
            return []
        if self._measures.logging:
            self._raw += [delta.reasoning, delta.content, *(call.arguments for call in delta.tool_calls)]
        return self._passed([self._scanned(delta)])

    def finish(self) -> list[Delta]:
        """Return what may go out at the end; nothing, where the answer is ``refused`` now."""
        if self.refused:
            return []
        rest = [Delta(index=self.index, reasoning=self._reasoned(last=True)), *self._rest()]
        if self.refused:  # of the answer, what stands before that may go out, but no part of JSON
            rest = [delta for delta in rest if not (delta.tool_calls or self._measures.is_json)]
        else:
            self._log()
            self._listen()
            if self.refused:
                return []
        self._waits = self._waits and self._measures.holds
        return self._passed(rest)

    def release(self) -> list[Delta]:
        """Return what was held until the answer was judged."""
        self._waits = False
        return self._passed([])

    # --- texts ------------------------------------------------------------------------------------------------------

    def _scanned(self, delta: Delta) -> Delta:
        if not self._measures.scans:
            self._text.append(delta.content)
            return delta
        self.lost_logprobs = self.lost_logprobs or bool(delta.logprobs)
        for call in delta.tool_calls:
            self._hold(call)
        # What was thought is over when the answer begins.
        reasoning = self._reasoned(delta.reasoning, last=bool(delta.content))
        content = "" if self.refused else self._said(delta.content)
        return Delta(index=self.index, reasoning=reasoning, content=content)

    def _reasoned(self, piece: str = "", *, last: bool = False) -> str:
        shown = self._reasoning.finish(piece) if last else self._reasoning.feed(piece)
        restored = self._restored[1]
        return shown if restored is None else restored.finish(shown) if last else restored.feed(shown)

    def _said(self, piece: str, *, last: bool = False) -> str:
        if self._measures.is_json:
            self._json.append(piece)
            return ""
        shown = self._content.finish(piece) if last else self._content.feed(piece)
        self._text.append(shown)
        restored = self._restored[0]
        return shown if restored is None else restored.finish(shown) if last else restored.feed(shown)

    def _rest(self) -> Iterator[Delta]:
        """Yield what was held of the answer and its calls."""
        if not self._measures.scans:
            return
        content = self._said("", last=True)
        if self._measures.is_json and (whole := "".join(self._json)):
            content = json_rewritten(whole, self._rewrite)
            self._text.append(content)
        yield Delta(index=self.index, content=content)
        for number, call in sorted(self._calls.items()):
            arguments = json_rewritten("".join(call.arguments), self._rewrite)
            made = ToolCallDelta(index=number, id=call.id, name=call.name, arguments=arguments)
            yield Delta(index=self.index, tool_calls=(made,))

    def _rewrite(self, text: str) -> str:
        """Return a text of a JSON value, as a text of its own."""
        shown = self._scanner().finish(text)
        restorer = self._restorer()
        return restorer.finish(shown) if restorer else shown

    def _hold(self, piece: ToolCallDelta) -> None:
        call = self._calls.setdefault(piece.index, _Call())
        call.id, call.name = call.id or piece.id, call.name or piece.name
        call.arguments.append(piece.arguments)

    # --- what goes out ----------------------------------------------------------------------------------------------

    def _passed(self, deltas: list[Delta]) -> list[Delta]:
        """Return what may go out of ``deltas`` and of what waited."""
        said = [delta for delta in deltas if delta != Delta(index=self.index)]
        if self.refused and self._waits:
            return []
        self._waiting += said
        if self._waits and not self._measures.holds and len(self.text) >= ENOUGH:
            self._listen()
            self._waits = self.refused is not None
        if self._waits:
            return []
        passed, self._waiting = self._waiting, []
        self.has_spoken = self.has_spoken or any(delta.content for delta in passed)
        return passed

    def _listen(self) -> None:
        """Look at the language, once: when there is enough to tell it, or at the end."""
        if self._is_heard:
            return
        self._is_heard = True
        text = self.text[:ENOUGH]
        for guard, spoken in self._measures.spoken:
            if found := spoken.of(text):
                self._measures.tell(guard, found[0])
                self.refused = self.refused or (guard if guard.refuses else None)

    def _log(self) -> None:
        for guard, patterns in self._measures.logging:
            try:
                for span in patterns.spans("".join(self._raw)):
                    self._measures.tell(guard, span.category)
            except Undecided as error:
                self._measures.trouble(guard, error)

    # --- scanners ---------------------------------------------------------------------------------------------------

    def _scanner(self) -> Scanner:
        refusers = [
            Refuser(patterns=guard.work, refuse=self._refuser(guard))
            for guard in self._measures.guards
            if guard.refuses and isinstance(guard.work, Patterns)
        ]
        return Scanner(self._measures.maskers, refusers, goes_on=self._goes_on)

    def _refuser(self, guard: Guard) -> Callable[[Span], None]:
        def refuse(span: Span) -> None:
            self._measures.tell(guard, span.category)
            self.refused = guard

        return refuse

    def _restorer(self) -> Scanner | None:
        restoring = self._measures.restoring
        return None if restoring is None else Scanner([restoring], goes_on=self._goes_on)

    def _goes_on(self, error: Undecided) -> bool:
        guard = next(guard for guard in self._measures.guards if guard.name == error.owner)
        self._measures.trouble(guard, error)
        if guard.fails_open:
            return True
        self.refused = guard
        return False
