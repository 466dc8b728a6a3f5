"""Ollama's native chat protocol: a call into its JSON, its lines into events. Pure.

Source: ollama/ollama, api/types.go (ChatRequest, ChatResponse, Options) and server/routes.go (ChatHandler).
"""

import re
from collections.abc import Mapping
from typing import Any

from routing.backends import codec, instructions
from routing.backends.protocol import ChatCall, ChatEvent, Delta, Finish, Image, Json, Message, ToolCallDelta, Usage
from routing.exceptions import BadRequest, ContextLengthExceeded, EndpointError, UpstreamFailed

# reasoning_effort -> think, as Ollama's own /v1 layer maps it (openai/openai.go)
THINK_LEVELS: Mapping[str, bool | str] = {
    "none": False,
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "max": "max",
    "xhigh": "max",
    "ultra": "max",
}


def chat_payload(call: ChatCall) -> dict[str, Any]:
    """Return the body of POST /api/chat for ``call``; raises BadRequest for what Ollama cannot take."""
    request = call.request
    _refuse_gifs(call)
    said = (*instructions.verbosity(request), *instructions.tool_promises(request))
    messages = instructions.instructed(call.messages, said)
    payload: dict[str, Any] = {
        "model": call.model,
        "messages": [_message(message, messages[:place]) for place, message in enumerate(messages)],
        "stream": True,
        "truncate": False,  # a prompt that does not fit is an error, never a silent loss
        "shift": False,
    }
    if options := _options(call):
        payload["options"] = options
    if call.keep_alive is not None:
        payload["keep_alive"] = keep_alive_value(call.keep_alive)
    if tools := request.offered_tools:
        # Ollama knows no tool_choice: what may not be called is withheld, what must be is said in words, and
        # gateway/promises.py sees to it that it was.
        require(call, "tools", "tools")
        payload["tools"] = list(tools)
    if request.response_format and request.response_format.kind != "text":
        schema = request.response_format.schema
        payload["format"] = "json" if schema is None else schema
    if (think := _think(call)) is not None:
        payload["think"] = think
    if request.logprobs:
        payload["logprobs"] = True
        if request.top_logprobs is not None:
            payload["top_logprobs"] = request.top_logprobs
    return payload


def _options(call: ChatCall) -> dict[str, Any]:
    sampling = call.request.sampling
    asked = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "num_predict": sampling.max_tokens,
        "stop": None if sampling.stop is None else list(sampling.stop),
        "seed": sampling.seed,
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
        "num_ctx": call.num_ctx,
    }
    # None, not falsehood, means "not asked": a penalty of 0 and a seed of 0 must arrive.
    return dict(call.request.options) | {name: value for name, value in asked.items() if value is not None}


def keep_alive_value(keep_alive: str | int | float) -> str | int | float:
    """Return ``keep_alive`` as Ollama takes it: a bare number must be a number, not a text."""
    if isinstance(keep_alive, str) and re.fullmatch(r"-?\d+(\.\d+)?", keep_alive):
        return float(keep_alive) if "." in keep_alive else int(keep_alive)
    return keep_alive


def _think(call: ChatCall) -> bool | str | None:
    think = call.request.think
    if think is None and call.request.reasoning_effort is not None:
        think = THINK_LEVELS[call.request.reasoning_effort]
    if think:
        require(call, "thinking", "reasoning_effort" if call.request.think is None else "think")
    return think


def require(call: ChatCall, capability: str, param: str) -> None:
    """Raise BadRequest if the model is known to lack ``capability``."""
    if call.capabilities is not None and capability not in call.capabilities:
        raise BadRequest(
            f"The model '{call.model}' does not support {capability}. Leave out '{param}', or ask for a model "
            "that supports it.",
            param=param,
            code="unsupported_parameter",
        )


GIF = "R0lGOD"  # "GIF8" in base64


def _refuse_gifs(call: ChatCall) -> None:
    for number, message in enumerate(call.request.messages):
        for place, part in enumerate(message.parts):
            if isinstance(part, Image) and (part.mime == "image/gif" or part.data.startswith(GIF)):
                where = f"messages[{number}].content[{place}]"
                raise BadRequest(
                    f"'{where}' is a GIF, which the model '{call.model}' cannot see. Send it as PNG, JPEG or WebP.",
                    param=where,
                    code="invalid_image_format",
                )


def _message(message: Message, history: tuple[Message, ...]) -> dict[str, Any]:
    native: dict[str, Any] = {
        "role": "system" if message.role == "developer" else message.role,
        "content": message.text,
    }
    if message.images:
        native["images"] = [image.data for image in message.images]
    if message.reasoning:
        native["thinking"] = message.reasoning
    if message.tool_calls:
        native["tool_calls"] = [
            {
                "id": tool_call.id,
                "function": {
                    "index": index,
                    "name": tool_call.name,
                    "arguments": codec.loads(tool_call.arguments or "{}"),
                },
            }
            for index, tool_call in enumerate(message.tool_calls)
        ]
    if message.role == "tool":
        if message.tool_call_id:
            native["tool_call_id"] = message.tool_call_id
        if name := message.name or _called_name(message.tool_call_id, history):
            native["tool_name"] = name
    return native


def _called_name(tool_call_id: str | None, history: tuple[Message, ...]) -> str | None:
    """Return the name of the function that call id ``tool_call_id`` asked for; the last one counts."""
    for message in reversed(history):
        for tool_call in message.tool_calls:
            if tool_call.id == tool_call_id:
                return tool_call.name
    return None


class ChatStream:
    """Lines of /api/chat into events, one object per answer."""

    def __init__(self, *, new_id: Any) -> None:
        self._new_id = new_id
        self._tool_calls = 0
        self.done = False

    def feed(self, line: bytes) -> list[ChatEvent]:
        """Return the events of one line; raises UpstreamFailed for an error line or a line that is no object."""
        if not line.strip():
            return []
        try:
            data = codec.loads(line)
        except ValueError as error:
            raise UpstreamFailed("The model server sent a line that is not JSON.") from error
        if not isinstance(data, dict):
            raise UpstreamFailed("The model server sent a line that is not a JSON object.")
        if data.get("error"):
            raise stream_error(data["error"])
        events: list[ChatEvent] = []
        if delta := self._delta(data):
            events.append(delta)
        if data.get("done"):
            self.done = True
            events.append(self._finish(data))
        return events

    def end(self) -> list[ChatEvent]:
        """Return what the end of the connection completes: nothing, as an answer ends with done alone."""
        return []

    def _delta(self, data: Json) -> Delta | None:
        message = data.get("message") or {}
        delta = Delta(
            content=message.get("content") or "",
            reasoning=message.get("thinking") or "",
            tool_calls=tuple(self._tool_call(tool_call) for tool_call in message.get("tool_calls") or ()),
            logprobs=tuple(_logprob(item) for item in data.get("logprobs") or ()),
        )
        return delta if delta != Delta() else None

    def _tool_call(self, native: Json) -> ToolCallDelta:
        function = native.get("function") or {}
        arguments = function.get("arguments") or {}
        # Ollama numbers every call 0 for models without a parser of their own; clients need 0, 1, 2.
        index = self._tool_calls
        self._tool_calls += 1
        return ToolCallDelta(
            index=index,
            id=native.get("id") or self._new_id(),
            name=function.get("name") or "",
            arguments=arguments if isinstance(arguments, str) else codec.dumps(arguments).decode(),
        )

    def _finish(self, data: Json) -> Finish:
        reason = data.get("done_reason")
        if reason != "length":
            reason = "tool_calls" if self._tool_calls else "stop"
        return Finish(
            reason=reason,
            usage=Usage(
                prompt_tokens=data.get("prompt_eval_count") or 0,
                completion_tokens=data.get("eval_count") or 0,
            ),
        )


def _logprob(native: Json) -> Json:
    """Return one of Ollama's log probabilities in OpenAI's shape, whose keys are all required."""
    return {
        "token": native.get("token", ""),
        "logprob": native.get("logprob", 0.0),
        "bytes": native.get("bytes"),
        "top_logprobs": [
            {"token": top.get("token", ""), "logprob": top.get("logprob", 0.0), "bytes": top.get("bytes")}
            for top in native.get("top_logprobs") or ()
        ],
    }


def error_text(error: Any) -> str:
    """Return the words of a model server's error, whatever it is wrapped in.

    Ollama's is a string that may itself hold the JSON body of the llama.cpp server beneath.
    """
    for _ in range(4):
        if isinstance(error, str):
            try:
                unwrapped = codec.loads(error)
            except ValueError:
                unwrapped = None
            if not isinstance(unwrapped, dict):
                return ADDRESS.sub("[address]", error) or "no reason given"
            error = unwrapped
        if not isinstance(error, Mapping):
            break
        error = error.get("error") or error.get("message") or error.get("detail") or error.get("Status") or ""
    return ADDRESS.sub("[address]", error if isinstance(error, str) else "") or "no reason given"


# What a client need not know of the network behind the gateway.
ADDRESS = re.compile(r"https?://[^\s\"'<>]+|\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b")


def stream_error(error: Any) -> EndpointError:
    """Return what a model server's error in the middle of its answer is to a client."""
    text = error_text(error)
    if speaks_of_context(text):
        return ContextLengthExceeded(f"The prompt is too long for the model: {text}", param="messages")
    return UpstreamFailed(f"The model server stopped with an error: {text}")


CONTEXT_TEXT = re.compile(
    r"context (?:length|window|size)|exceed_context|maximum model length|longer than the context"
    r"|maximum context|too long for the",
    re.IGNORECASE,
)


def speaks_of_context(text: str) -> bool:
    """Tell whether an error text means that the prompt did not fit."""
    return bool(CONTEXT_TEXT.search(text))


THINK_TEXT = re.compile(r"does not support thinking|think value .{0,20} is not supported", re.IGNORECASE)


def refused_parameter(text: str) -> str | None:
    """Return which parameter Ollama's words of a refusal (400) are about, if they tell.

    What a model can do is checked before it is asked; an old server does not tell, and none tells its levels
    (ollama#12561).
    """
    return "reasoning_effort" if THINK_TEXT.search(text) else None
