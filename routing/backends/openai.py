"""The OpenAI-compatible chat protocol of llama.cpp, vLLM and others: a call into JSON, events back. Pure."""

from dataclasses import dataclass
from typing import Any

from routing.backends import codec, instructions
from routing.backends.ollama import require, stream_error
from routing.backends.protocol import (
    ChatCall,
    ChatEvent,
    Delta,
    Finish,
    Image,
    Json,
    Message,
    Text,
    ToolCallDelta,
    Usage,
)
from routing.exceptions import BadRequest, UpstreamFailed


def chat_payload(call: ChatCall) -> dict[str, Any]:
    """Return the body of POST /v1/chat/completions for ``call``: only what the client sent, and usage.

    Raises BadRequest for Ollama's extensions, which such a server cannot carry out.
    """
    request, sampling = call.request, call.request.sampling
    for name in ("num_ctx", "keep_alive"):
        if getattr(request, name) is not None:
            raise BadRequest(
                f"'{name}' works with Ollama servers only, and '{call.model}' runs on another kind. Leave it out.",
                param=name,
                code="unsupported_parameter",
            )
    asked = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_tokens,
        "stop": None if sampling.stop is None else list(sampling.stop),
        "seed": sampling.seed,
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
        "response_format": dict(request.response_format.raw) if request.response_format else None,
        "tools": list(request.tools) or None,
        "tool_choice": request.tool_choice if request.tools else None,
        "parallel_tool_calls": request.parallel_tool_calls if request.tools else None,
        "logprobs": request.logprobs,
        "top_logprobs": request.top_logprobs,
    }
    payload: dict[str, Any] = {
        "model": call.model,
        "messages": [
            message_object(message)
            for message in instructions.instructed(call.messages, instructions.verbosity(request))
        ],
        "stream": True,
        # Always asked for, because every answer is accounted; the client sees it only if it asked too.
        "stream_options": {"include_usage": True},
    }
    options = {OPTIONS.get(name, name): value for name, value in request.options.items()}
    given = {name: value for name, value in asked.items() if value is not None}
    # The client's own options give way to what the router decided.
    return options | given | _thinking(call) | payload


# Ollama's names of options that llama.cpp calls otherwise.
OPTIONS = {"num_keep": "n_keep", "num_predict": "max_tokens"}


def _thinking(call: ChatCall) -> dict[str, Any]:
    """Return what makes the model think, or not, as far as the client asked; 'think' beats 'reasoning_effort'.

    chat_template_kwargs is the switch of llama.cpp and vLLM; templates without it pass it over.
    """
    think, effort = call.request.think, call.request.reasoning_effort
    if think is None and effort is None:
        return {}
    if think is False or (think is None and effort == "none"):
        knows = call.capabilities is None or "thinking" in call.capabilities
        return {"chat_template_kwargs": {"enable_thinking": False}} if knows else {}
    require(call, "thinking", "reasoning_effort" if think is None else "think")
    if think is True:
        return {"chat_template_kwargs": {"enable_thinking": True}}
    return {"reasoning_effort": effort if think is None else think}


def message_object(message: Message) -> dict[str, Any]:
    """Return a message as OpenAI's API has it."""
    wire: dict[str, Any] = dict(message.extra)
    wire["role"] = "system" if message.role == "developer" else message.role
    if message.content_is_null:
        wire["content"] = None
    elif message.images:
        wire["content"] = [_part(part) for part in message.parts]
    else:
        wire["content"] = message.text
    if message.reasoning:
        wire["reasoning_content"] = message.reasoning
    if message.tool_calls:
        wire["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
    if message.tool_call_id is not None:
        wire["tool_call_id"] = message.tool_call_id
    if message.name is not None:
        wire["name"] = message.name
    return wire


def _part(part: Text | Image) -> dict[str, Any]:
    if isinstance(part, Text):
        return {"type": "text", "text": part.text}
    url = {"url": f"data:{part.mime or 'image/png'};base64,{part.data}"}
    return {"type": "image_url", "image_url": url | ({"detail": part.detail} if part.detail else {})}


class ChatStream:
    """Lines of an SSE stream of chat.completion.chunk objects into events, one object per answer."""

    def __init__(self, *, new_id: Any) -> None:
        self._new_id = new_id
        self._decoder = codec.EventDecoder()
        self._calls = 0
        self._open: dict[Any, _OpenCall] = {}
        self._reason: str | None = None
        self._usage: Usage | None = None
        self.done = False

    def feed(self, line: bytes) -> list[ChatEvent]:
        """Return the events that ``line`` completes; raises UpstreamFailed for an error event or bad JSON."""
        data = self._decoder.feed(line)
        if data is None or self.done:
            return []
        if data.strip() == b"[DONE]":
            return self._end()
        try:
            chunk = codec.loads(data)
        except ValueError as error:
            raise UpstreamFailed("The model server sent an event that is not JSON.") from error
        if not isinstance(chunk, dict):
            raise UpstreamFailed("The model server sent an event that is not a JSON object.")
        if chunk.get("error"):
            raise stream_error(chunk["error"])
        return self._chunk(chunk)

    def end(self) -> list[ChatEvent]:
        """Return what the end of the connection completes: the last event, and an answer that named its finish."""
        events = self.feed(b"")
        return events if self.done or self._reason is None else [*events, *self._end()]

    def _end(self) -> list[ChatEvent]:
        if self._reason is None:
            raise UpstreamFailed("The model server ended its answer without a reason to finish.")
        self.done = True
        called = self._reason == "stop" and self._calls
        return [Finish(reason="tool_calls" if called else self._reason, usage=self._usage)]

    def _chunk(self, chunk: Json) -> list[ChatEvent]:
        if usage := chunk.get("usage"):
            self._usage = Usage(
                prompt_tokens=usage.get("prompt_tokens") or 0,
                completion_tokens=usage.get("completion_tokens") or 0,
                details={name: value for name, value in usage.items() if name.endswith("_details")},
            )
        events: list[ChatEvent] = []
        for choice in chunk.get("choices") or ():
            if choice.get("index") not in (None, 0):
                continue  # several answers are several calls, of one choice each
            if delta := self._delta(choice):
                events.append(delta)
            if choice.get("finish_reason"):
                self._reason = choice["finish_reason"]
        return events

    def _delta(self, choice: Json) -> Delta | None:
        wire = choice.get("delta") or {}
        delta = Delta(
            content=wire.get("content") or "",
            # vLLM and Ollama say "reasoning", llama.cpp and DeepSeek "reasoning_content".
            reasoning=wire.get("reasoning_content") or wire.get("reasoning") or "",
            tool_calls=tuple(self._tool_call(call) for call in wire.get("tool_calls") or ()),
            logprobs=tuple((choice.get("logprobs") or {}).get("content") or ()),
        )
        return delta if delta != Delta() else None

    def _tool_call(self, wire: Json) -> ToolCallDelta:
        function = wire.get("function") or {}
        place, identity, name = wire.get("index"), wire.get("id") or None, function.get("name") or None
        call = self._open.get(place)
        # Some servers number every call 0, or none; others give each fragment an id of its own. A new call is one
        # that brings a name, and an id that is not the open one's (or no number to tell by).
        if call is None or (name and call.named and (identity != call.id if identity else place is None)):
            call = self._open[place] = _OpenCall(index=self._calls, id=identity or self._new_id())
            self._calls += 1
            identity = call.id
        else:
            identity = None  # clients join what is repeated, so id and name are passed on only once
        name = None if call.named else name
        call.named = call.named or bool(name)
        return ToolCallDelta(index=call.index, id=identity, name=name, arguments=function.get("arguments") or "")


@dataclass(slots=True)
class _OpenCall:
    """A tool call whose fragments are arriving."""

    index: int
    id: str
    named: bool = False
