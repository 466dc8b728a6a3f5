"""An answer as it is kept, and as it is given again. Pure."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from routing.backends.protocol import ChatEvent, Delta, Finish, Json, Usage

PIECE = 60
"""Characters of a piece of an answer that is streamed again, about."""
LONGEST = 200_000
"""Characters of all answers to a request that are kept; what is longer is not."""
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
_PIECES = re.compile(rf".{{1,{PIECE}}}(?:\s+|$)|.{{1,{PIECE}}}", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One of the answers to a request (n)."""

    content: str = ""
    reasoning: str = ""
    logprobs: tuple[Json, ...] = ()
    adjusted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """Answers that were complete. Times are in seconds since 1970.

    ``key_id``, ``profile`` and ``digest`` are what they can be purged by, and ``epoch`` is the last purge that was
    known when they were begun.
    """

    digest: str
    key_id: int | None = None
    profile: str = ""
    epoch: int = 0
    created: float = 0.0
    expires: float = 0.0
    said: tuple[Said, ...] = ()
    usage: Usage | None = None

    @property
    def characters(self) -> int:
        return sum(len(one.content) + len(one.reasoning) + 100 * len(one.logprobs) for one in self.said)

    def events(self) -> Iterator[ChatEvent]:
        """Yield the answers as a model would give them; the last Finish has the usage of all, as it was then."""
        for index, one in enumerate(self.said):
            for piece in _PIECES.findall(one.reasoning):
                yield Delta(index=index, reasoning=piece)
            if one.logprobs:  # they belong to tokens, which pieces of a text are not
                yield Delta(index=index, content=one.content, logprobs=one.logprobs)
            else:
                for piece in _PIECES.findall(one.content):
                    yield Delta(index=index, content=piece)
            usage = self.usage if index == len(self.said) - 1 else None
            yield Finish(index=index, reason="stop", usage=usage, adjusted=one.adjusted)

    def answer(self) -> dict[str, Any]:
        """Return what was said as JSON; ``of`` reads it."""
        usage = self.usage
        return {
            "said": [
                {
                    "content": one.content,
                    "reasoning": one.reasoning,
                    "logprobs": list(one.logprobs),
                    "adjusted": list(one.adjusted),
                }
                for one in self.said
            ],
            "usage": [usage.prompt_tokens, usage.completion_tokens, dict(usage.details)] if usage else None,
        }

    @classmethod
    def of(cls, answer: Mapping[str, Any], **fields: Any) -> Self:
        """Return what ``answer()`` gave; raises LookupError, TypeError or ValueError for anything else."""
        usage = answer["usage"]
        counted = None
        if usage:
            prompt, completion, details = usage
            counted = Usage(prompt_tokens=prompt, completion_tokens=completion, details=details)
        said = tuple(
            Said(
                content=str(one["content"]),
                reasoning=str(one["reasoning"]),
                logprobs=tuple(one["logprobs"]),
                adjusted=tuple(one["adjusted"]),
            )
            for one in answer["said"]
        )
        return cls(said=said, usage=counted, **fields)


@dataclass(slots=True)
class _Answer:
    content: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    logprobs: list[Json] = field(default_factory=list)
    finish: Finish | None = None


class Recorder:
    """Takes the events of ``answers`` answers, and tells what there is to keep of them."""

    def __init__(self, answers: int) -> None:
        self._answers = [_Answer() for _ in range(answers)]
        self._spoiled = False
        self._usage: Usage | None = None

    def spoil(self) -> None:
        """Note that this is not the answer that the same request would get at another time."""
        self._spoiled = True

    def take(self, event: ChatEvent) -> None:
        answer = self._answers[event.index]
        if isinstance(event, Finish):
            answer.finish, self._usage = event, event.usage or self._usage
            return
        answer.content.append(event.content)
        answer.reasoning.append(event.reasoning)
        answer.logprobs.extend(event.logprobs)
        self._spoiled = self._spoiled or bool(event.tool_calls)

    def said(self) -> tuple[tuple[Said, ...], Usage | None] | None:
        """Return the answers and their usage; None where one was cut short, is too long, or cannot be stored."""
        if self._spoiled or not all(one.finish and one.finish.reason == "stop" for one in self._answers):
            return None
        said = tuple(
            Said(
                content="".join(one.content),
                reasoning="".join(one.reasoning),
                logprobs=tuple(one.logprobs),
                adjusted=one.finish.adjusted if one.finish else (),
            )
            for one in self._answers
        )
        kept = Kept(digest="", said=said)
        if kept.characters > LONGEST or any(_UNSTORABLE.search(one.content + one.reasoning) for one in said):
            return None
        return said, self._usage
