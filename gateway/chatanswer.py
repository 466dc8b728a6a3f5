"""OpenAI's chat completion, whole and in chunks, from the events of a model's answer. Pure.

Source: openai/openai-python, src/openai/types/chat.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway.cited import Cited
from routing.backends.protocol import Delta, Finish, Json, Usage
from routing.mixture.parts import Parts, together


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What every object of one answer has in common; ``created`` in seconds since 1970."""

    id: str
    created: int
    model: str


class ChunkWriter:
    """Events into chat.completion.chunk objects, in the order OpenAI sends them; ``choices`` is n.

    ``moe`` is what the first of them tells of the decision, for a client that asked; the last of an answer tells its
    parts, where there are any.
    """

    def __init__(self, head: Head, *, include_usage: bool, choices: int = 1, moe: Json | None = None) -> None:
        self._head = head
        self._moe = moe
        self._include_usage = include_usage
        self._choices = self._running = choices
        self._has_begun = False
        self._cited: dict[int, Cited] = {}
        self._parts: dict[int, Parts] = {}

    def write(self, event: Delta | Cited | Parts | Finish) -> Iterator[dict[str, Any]]:
        if isinstance(event, Cited):
            self._cited[event.index] = event  # goes with the end, which comes next
            return
        if isinstance(event, Parts):
            self._parts[event.index] = event  # so do the last of these
            return
        if not self._has_begun:
            self._has_begun = True
            yield from self._openings()
        if isinstance(event, Delta):
            yield self._chunk(event.index, _delta(event), logprobs=event.logprobs)
            return
        chunk = self._end(event, self._cited.get(event.index, Cited()))
        told = self._told(event)
        yield chunk | {"moe": told} if told else chunk
        self._running -= 1
        if self._include_usage and not self._running:
            yield self._envelope([]) | {"usage": usage_object(event.usage or Usage())}

    def _openings(self) -> Iterator[dict[str, Any]]:
        """Begin all choices in their order, whichever speaks first: openai's own reader of streams counts on it."""
        for index in range(self._choices):
            opening = self._chunk(index, {"role": "assistant", "content": ""})
            yield opening | {"moe": self._moe} if self._moe and not index else opening

    def _told(self, finish: Finish) -> dict[str, Any]:
        parts = self._parts.get(finish.index)
        told = together([parts]) if parts else {}
        return told | ({"adjusted": list(finish.adjusted)} if finish.adjusted else {})

    def _end(self, finish: Finish, cited: Cited) -> dict[str, Any]:
        delta = {} if cited.annotations is None else {"annotations": list(cited.annotations)}
        return self._chunk(finish.index, delta, finish_reason=finish.reason) | dict(cited.extension or {})

    def _chunk(
        self, index: int, delta: dict[str, Any], *, finish_reason: str | None = None, logprobs: Sequence[Json] = ()
    ) -> dict[str, Any]:
        choice: dict[str, Any] = {"index": index, "delta": delta, "finish_reason": finish_reason}
        if logprobs:
            choice["logprobs"] = {"content": list(logprobs)}
        chunk = self._envelope([choice])
        return chunk | {"usage": None} if self._include_usage else chunk

    def _envelope(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "id": self._head.id,
            "object": "chat.completion.chunk",
            "created": self._head.created,
            "model": self._head.model,
            "choices": choices,
        }


def _delta(event: Delta) -> dict[str, Any]:
    delta: dict[str, Any] = {}
    if event.reasoning:
        # Clients read one or the other (Ollama and vLLM; DeepSeek and llama.cpp).
        delta |= {"reasoning": event.reasoning, "reasoning_content": event.reasoning}
    if event.content or (not event.reasoning and not event.tool_calls):
        delta["content"] = event.content
    if event.tool_calls:
        delta["tool_calls"] = [
            {"index": call.index}
            | ({"id": call.id, "type": "function"} if call.id is not None else {})
            | {"function": ({"name": call.name} if call.name is not None else {}) | {"arguments": call.arguments}}
            for call in event.tool_calls
        ]
    return delta


@dataclass(slots=True)
class Collector:
    """Events into one answer."""

    content: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    logprobs: list[Json] = field(default_factory=list)
    calls: dict[int, dict[str, str]] = field(default_factory=dict)
    cited: Cited | None = None
    finish: Finish | None = None

    def add(self, event: Delta | Cited | Finish) -> None:
        if isinstance(event, Finish):
            self.finish = event
            return
        if isinstance(event, Cited):
            self.cited = event
            return
        self.content.append(event.content)
        self.reasoning.append(event.reasoning)
        self.logprobs.extend(event.logprobs)
        for piece in event.tool_calls:
            call = self.calls.setdefault(piece.index, {"id": "", "name": "", "arguments": ""})
            call["id"] += piece.id or ""
            call["name"] += piece.name or ""
            call["arguments"] += piece.arguments

    def choice(self, index: int) -> dict[str, Any]:
        """Return the answer as a choice of a completion; ``finish`` must have been added."""
        assert self.finish is not None
        choice: dict[str, Any] = {"index": index, "message": self._message(), "finish_reason": self.finish.reason}
        if self.logprobs:
            choice["logprobs"] = {"content": self.logprobs}
        return choice

    def _message(self) -> dict[str, Any]:
        content, reasoning = "".join(self.content), "".join(self.reasoning)
        message: dict[str, Any] = {"role": "assistant", "content": content if content or not self.calls else None}
        if self.cited and self.cited.annotations is not None:
            message["annotations"] = list(self.cited.annotations)
        if reasoning:
            message |= {"reasoning": reasoning, "reasoning_content": reasoning}
        if self.calls:
            message["tool_calls"] = [
                {
                    "id": call["id"],
                    "type": "function",
                    "function": {"name": call["name"], "arguments": call["arguments"] or "{}"},
                }
                for _, call in sorted(self.calls.items())
            ]
        return message


@dataclass(slots=True)
class Completion:
    """Events into one chat.completion object, of as many answers as they are of."""

    answers: dict[int, Collector] = field(default_factory=dict)
    usage: Usage | None = None
    parts: dict[int, Parts] = field(default_factory=dict)

    def add(self, event: Delta | Cited | Parts | Finish) -> None:
        if isinstance(event, Parts):
            self.parts[event.index] = event
            return
        self.answers.setdefault(event.index, Collector()).add(event)
        if isinstance(event, Finish):
            self.usage = event.usage or self.usage

    @property
    def adjusted(self) -> list[str]:
        """The parameters that were carried out otherwise than a client may expect."""
        finishes = (answer.finish for answer in self.answers.values() if answer.finish)
        return sorted({name for finish in finishes for name in finish.adjusted})

    @property
    def extension(self) -> Json:
        """What a grounded answer has beside OpenAI's fields."""
        found = (answer.cited.extension for answer in self.answers.values() if answer.cited)
        return next((extension for extension in found if extension), {})

    def whole(self, head: Head, moe: Json | None = None) -> dict[str, Any]:
        """Return the whole object, with what ``moe`` tells of the decision; every answer must have got its Finish."""
        completion = {
            "id": head.id,
            "object": "chat.completion",
            "created": head.created,
            "model": head.model,
            "choices": [answer.choice(index) for index, answer in sorted(self.answers.items())],
            "usage": usage_object(self.usage or Usage()),
            **self.extension,
        }
        told = dict(moe or {}) | together([*self.parts.values()])
        told |= {"adjusted": self.adjusted} if self.adjusted else {}
        return completion | {"moe": told} if told else completion


def usage_object(counts: Usage) -> dict[str, Any]:
    """Return the counts as OpenAI tells them."""
    return {
        "prompt_tokens": counts.prompt_tokens,
        "completion_tokens": counts.completion_tokens,
        "total_tokens": counts.total_tokens,
    } | dict(counts.details)
