"""Text completions, whole and in chunks, from the events of a model's answer. Pure.

Source: openai/openai-python, src/openai/types/completion.py.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway.chatanswer import Head, usage_object
from routing.backends.protocol import (
    ChatEvent,
    Finish,
    Json,
    Usage,
)


class TextWriter:
    """Events into text_completion objects, as they are streamed; the first has ``moe``, for a client that asked."""

    def __init__(self, head: Head, *, include_usage: bool, moe: Json | None = None) -> None:
        self._head = head
        self._moe = moe
        self._include_usage = include_usage
        self._usage = Usage()
        self._offsets: dict[int, int] = {}

    def write(self, event: ChatEvent) -> Iterator[dict[str, Any]]:
        if isinstance(event, Finish):
            self._usage += event.usage or Usage()
            yield self._chunk(event.index, "", finish_reason=event.reason)
        elif event.content or event.logprobs:
            offset = self._offsets.get(event.index, 0)
            self._offsets[event.index] = offset + len(event.content)
            yield self._chunk(event.index, event.content, logprobs=legacy_logprobs(event.logprobs, offset=offset))

    def end(self) -> Iterator[dict[str, Any]]:
        """Yield what comes after the last event."""
        if self._include_usage:
            yield _envelope(self._head, []) | {"usage": usage_object(self._usage)}

    def _chunk(
        self, index: int, text: str, *, finish_reason: str | None = None, logprobs: Json | None = None
    ) -> dict[str, Any]:
        choice = {"index": index, "text": text, "logprobs": logprobs, "finish_reason": finish_reason}
        chunk = _envelope(self._head, [choice])
        if self._moe:
            chunk, self._moe = chunk | {"moe": self._moe}, None
        return chunk | {"usage": None} if self._include_usage else chunk


@dataclass(slots=True)
class TextCollector:
    """Events into one text_completion object."""

    texts: dict[int, list[str]] = field(default_factory=dict)
    logprobs: dict[int, list[Json]] = field(default_factory=dict)
    reasons: dict[int, str] = field(default_factory=dict)
    usage: Usage = field(default_factory=Usage)

    def add(self, event: ChatEvent) -> None:
        if isinstance(event, Finish):
            self.reasons[event.index] = event.reason
            self.usage += event.usage or Usage()
        else:
            self.texts.setdefault(event.index, []).append(event.content)
            self.logprobs.setdefault(event.index, []).extend(event.logprobs)

    def completion(self, head: Head, moe: Json | None = None) -> dict[str, Any]:
        choices = [
            {
                "index": index,
                "text": "".join(self.texts.get(index, ())),
                "logprobs": legacy_logprobs(self.logprobs.get(index, ()), offset=0),
                "finish_reason": reason,
            }
            for index, reason in sorted(self.reasons.items())
        ]
        whole = _envelope(head, choices) | {"usage": usage_object(self.usage)}
        return whole | {"moe": moe} if moe else whole


def _envelope(head: Head, choices: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": head.id,
        "object": "text_completion",
        "created": head.created,
        "model": head.model,
        "choices": choices,
    }


def legacy_logprobs(entries: Sequence[Json], *, offset: int) -> Json | None:
    """Return log probabilities in the form of text completions; ``offset`` is where the first token stands."""
    if not entries:
        return None
    tokens = [entry["token"] for entry in entries]
    offsets = []
    for token in tokens:
        offsets.append(offset)
        offset += len(token)
    return {
        "tokens": tokens,
        "token_logprobs": [entry["logprob"] for entry in entries],
        "top_logprobs": [
            {top["token"]: top["logprob"] for top in entry.get("top_logprobs") or ()} for entry in entries
        ],
        "text_offset": offsets,
    }
