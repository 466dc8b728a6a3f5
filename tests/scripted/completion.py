"""The objects of one OpenAI completion as llama.cpp writes them (its tools/server/server-task.cpp)."""

import json
import secrets
import time
from collections.abc import Mapping
from typing import Any

from . import tokens
from .model import ScriptedModel
from .reply import Reply, ToolCall

BUILD = "b9999-scripted"


class Completion:
    """One completion, in the objects of its surface."""

    def __init__(
        self, request: Mapping[str, Any], reply: Reply, model: ScriptedModel, prompt: int, *, chat: bool
    ) -> None:
        self._request = request
        self._reply = reply
        self._chat = chat
        self._pieces = reply.pieces()
        said = sum(tokens.count(piece.content, piece.thinking) for piece in self._pieces)
        said += 8 * sum(len(piece.tool_calls) for piece in self._pieces)
        used = prompt if reply.prompt_tokens is None else reply.prompt_tokens
        made = said if reply.completion_tokens is None else reply.completion_tokens
        self.counts = used, made
        self._usage = {
            "completion_tokens": made,
            "prompt_tokens": used,
            "total_tokens": used + made,
            "prompt_tokens_details": {"cached_tokens": 0},
        }
        self._timings = {
            "prompt_n": used,
            "prompt_ms": 1.0 * used,
            "predicted_n": made,
            "predicted_ms": 20.0 * made,
        }
        top = request.get("top_logprobs") or 0
        self._logprobs = reply.token_logprobs(top) if request.get("logprobs") else []
        self._base = {
            "created": int(time.time()),
            "id": f"{'chatcmpl' if chat else 'cmpl'}-{secrets.token_urlsafe(24)}",
            "model": request.get("model", model.name),  # echoed, whatever it is called here
            "system_fingerprint": BUILD,
        }

    @property
    def _finish(self) -> str | None:
        reason = self._reply.done_reason
        called = any(piece.tool_calls for piece in self._pieces)
        return "tool_calls" if called and reason == "stop" else reason

    def whole(self) -> dict[str, object]:
        """Write the answer to a request that does not stream."""
        content = "".join(piece.content for piece in self._pieces)
        choice: dict[str, object] = {"finish_reason": self._finish, "index": 0}
        if self._chat:
            choice["message"] = self._message(content)
        else:
            choice |= {"text": content, "logprobs": None}
        if self._logprobs:
            choice["logprobs"] = {"content": [entry for entry in self._logprobs if entry]}
        return {
            "choices": [choice],
            **self._base,
            "object": "chat.completion" if self._chat else "text_completion",
            "usage": self._usage,
            "timings": self._timings,
        }

    def role(self) -> dict[str, object]:
        """Open a chat stream: llama.cpp says content null here, where OpenAI says ""."""
        return self._chunk({"role": "assistant", "content": None})

    def deltas(self) -> list[dict[str, object]]:
        """Write what the pieces say, with the arguments of tool calls in fragments."""
        chunks: list[dict[str, object]] = []
        for place, piece in enumerate(self._pieces):
            entry = self._logprobs[place] if place < len(self._logprobs) else None
            if piece.thinking and self._chat:
                chunks.append(self._chunk({self._reply.reasoning_key: piece.thinking}))
            # An empty piece is an empty delta, not none; one that carries something else has no content.
            if piece.content or not (piece.thinking or piece.tool_calls):
                chunks.append(self._chunk({"content": piece.content}, logprob=entry))
            for call in piece.tool_calls:
                chunks += [self._chunk({"tool_calls": [part]}) for part in self._fragments(call)]
        return chunks

    def last(self) -> list[dict[str, object]]:
        """Close a stream: the finish reason, and usage in a chunk of its own where it was asked for."""
        finish = self._chunk({}, finish=self._finish)
        chunks = [finish]
        if (self._request.get("stream_options") or {}).get("include_usage"):
            chunks.append(finish | {"choices": [], "usage": self._usage})
        chunks[-1] = chunks[-1] | {"timings": self._timings}
        return chunks

    def _message(self, content: str) -> dict[str, object]:
        calls = [call for piece in self._pieces for call in piece.tool_calls]
        said = content if content or not calls else None
        message: dict[str, object] = {"role": "assistant", "content": said}
        if thinking := "".join(piece.thinking for piece in self._pieces):
            message[self._reply.reasoning_key] = thinking
        if calls:
            message["tool_calls"] = [
                {
                    "type": "function",
                    "function": {"name": call.name, "arguments": json.dumps(dict(call.arguments))},
                    "id": call.id or secrets.token_hex(16),
                }
                for call in calls
            ]
        return message

    def _fragments(self, call: ToolCall) -> list[dict[str, object]]:
        text = json.dumps(dict(call.arguments))
        size = -(-len(text) // max(1, self._reply.argument_pieces))
        first = {
            "index": call.index or 0,
            "id": call.id or secrets.token_hex(16),
            "type": "function",
            "function": {"name": call.name, "arguments": ""},
        }
        rest = [
            {"index": call.index or 0, "function": {"arguments": text[at : at + size]}}
            for at in range(0, len(text), size)
        ]
        return [first, *rest]

    def _chunk(
        self,
        delta: Mapping[str, object],
        *,
        finish: str | None = None,
        logprob: Mapping[str, object] | None = None,
    ) -> dict[str, object]:
        choice: dict[str, object] = {"finish_reason": finish, "index": 0}
        if self._chat:
            choice["delta"] = delta
        else:
            choice |= {"text": delta.get("content", ""), "logprobs": None}
        if logprob:
            choice["logprobs"] = {"content": [logprob]}
        kind = "chat.completion.chunk" if self._chat else "text_completion"
        return {"choices": [choice], **self._base, "object": kind}
