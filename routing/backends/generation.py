"""Text completions of both kinds of model servers: a call into JSON, streamed lines into events. Pure.

What they share with chats is written and read by ollama.py and openai.py: a line of /api/generate or of
/v1/completions is turned into the chat line that says the same.

Sources: ollama/ollama, api/types.go (GenerateRequest, GenerateResponse) and server/routes.go (GenerateHandler);
openai/openai-python, src/openai/types/completion.py.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from routing.backends import codec, ollama, openai
from routing.backends.protocol import ChatCall, ChatEvent, ChatRequest, Json, ServerKind
from routing.exceptions import BadRequest

PATHS: Mapping[ServerKind, str] = {ServerKind.OLLAMA: "/api/generate", ServerKind.OPENAI: "/v1/completions"}


@dataclass(frozen=True, slots=True, kw_only=True)
class TextRequest:
    """A text completion as a client asked for it, checked.

    ``chat`` holds what it has in common with a chat completion; its one message is the first of ``prompts``, which
    holds each as often as it is to be answered: ``times``, one after the other.
    ``suffix`` is what comes after the gap to fill. ``raw`` keeps Ollama from putting a template around the prompt.
    """

    chat: ChatRequest
    prompts: tuple[str, ...]
    times: int = 1
    suffix: str | None = None
    raw: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TextCall:
    """One prompt as one replica shall complete it; ``window`` is the context its model has, if known."""

    chat: ChatCall
    prompt: str
    suffix: str | None = None
    raw: bool = False
    window: int | None = None


# A prompt that holds a model's own control tokens was put together for it by the client: Continue, Tabby and others
# fill in the middle that way. A template around it would spoil it.
CONTROL_TOKENS = re.compile(
    r"<\|?(?:fim_prefix|fim_suffix|fim_middle|fim_begin|fim_hole|fim_end)\|?>|<｜fim▁\w+｜>|<PRE>|<SUF>|\[SUFFIX\]|\[PREFIX\]"
    r"|<\|im_start\|>|<\|start_header_id\|>|\[INST\]|<start_of_turn>|<\|code_(?:prefix|suffix|middle)\|>"
)


def is_templated(prompt: str) -> bool:
    """Tell whether a prompt carries a model's control tokens already."""
    return bool(CONTROL_TOKENS.search(prompt))


def payload(kind: ServerKind, call: TextCall) -> dict[str, Any]:
    """Return the body that asks for ``call``; raises BadRequest for what the server cannot carry out."""
    return _generate_payload(call) if kind is ServerKind.OLLAMA else _completions_payload(call)


def _generate_payload(call: TextCall) -> dict[str, Any]:
    chat = call.chat
    if chat.request.think is None and not call.raw and "thinking" in (chat.capabilities or ()):
        # A text completion has no place for thoughts: an editor would wait for them in vain.
        chat = replace(chat, request=replace(chat.request, think=False))
    body = ollama.chat_payload(chat)
    del body["messages"]
    body |= {"prompt": call.prompt, "raw": call.raw}
    return body | ({"suffix": call.suffix} if call.suffix else {})


def _completions_payload(call: TextCall) -> dict[str, Any]:
    if call.suffix:
        _require_insert(call)
    request = call.chat.request
    if request.num_ctx and call.window and request.num_ctx <= call.window:
        request = replace(request, num_ctx=None)  # its window is at least that large
    # Such a server keeps its model in memory as long as it runs, and does not think before it completes a text.
    request = replace(request, keep_alive=None, think=request.think or None)
    body = openai.chat_payload(replace(call.chat, request=request))
    del body["messages"]
    body.pop("top_logprobs", None)
    if body.pop("logprobs", None):
        body["logprobs"] = request.top_logprobs or 0
    body |= {"prompt": call.prompt}
    return body | ({"suffix": call.suffix} if call.suffix else {})


def _require_insert(call: TextCall) -> None:
    """Raise BadRequest unless the model is known to fill in: llama.cpp and vLLM ignore or refuse a suffix."""
    if "insert" not in (call.chat.capabilities or ()):
        raise BadRequest(
            f"The model '{call.chat.model}' is not known to complete between a prompt and a 'suffix'. Leave 'suffix' "
            "out and send the prompt with the model's own fill-in-the-middle tokens, or ask for another model.",
            param="suffix",
            code="unsupported_parameter",
        )


# --- streams ------------------------------------------------------------------------------------------------


class GenerateStream:
    """Lines of /api/generate into events."""

    def __init__(self) -> None:
        self._chat = ollama.ChatStream(new_id=str)

    @property
    def done(self) -> bool:
        return self._chat.done

    def feed(self, line: bytes) -> list[ChatEvent]:
        return self._chat.feed(_rewritten(line, _generate_line))

    def end(self) -> list[ChatEvent]:
        return self._chat.end()


class CompletionsStream:
    """Lines of an SSE stream of text_completion objects into events."""

    def __init__(self) -> None:
        self._chat = openai.ChatStream(new_id=str)
        self._decoder = codec.EventDecoder()

    @property
    def done(self) -> bool:
        return self._chat.done

    def feed(self, line: bytes) -> list[ChatEvent]:
        data = self._decoder.feed(line)
        if data is None:
            return []
        self._chat.feed(b"data: " + _rewritten(data, _completions_chunk))
        return self._chat.feed(b"")

    def end(self) -> list[ChatEvent]:
        return [*self.feed(b""), *self._chat.end()]


def stream(kind: ServerKind) -> GenerateStream | CompletionsStream:
    return GenerateStream() if kind is ServerKind.OLLAMA else CompletionsStream()


def _rewritten(line: bytes, rewrite: Any) -> bytes:
    """Return ``line`` as its chat form; what is no JSON object is left to the chat stream to complain about."""
    try:
        data = codec.loads(line)
    except ValueError:
        return line
    return codec.dumps(rewrite(data)) if isinstance(data, dict) else line


def _generate_line(data: Json) -> Json:
    return dict(data) | {"message": {"content": data.get("response"), "thinking": data.get("thinking")}}


def _completions_chunk(data: Json) -> Json:
    if "choices" not in data:
        return data
    choices = [
        dict(choice)
        | {"delta": {"content": choice.get("text")}, "logprobs": {"content": _logprobs(choice.get("logprobs"))}}
        for choice in data["choices"] or ()
    ]
    return dict(data) | {"choices": choices}


def _logprobs(told: Json | None) -> list[Json]:
    """Return log probabilities as chats have them, from llama.cpp's form (a chat's) or OpenAI's older one (vLLM)."""
    if not told:
        return []
    if told.get("content"):
        return list(told["content"])
    tokens = told.get("tokens") or ()
    tops: Iterable[Json | None] = told.get("top_logprobs") or [None] * len(tokens)
    return [
        _entry(token, value) | {"top_logprobs": [_entry(other, at) for other, at in (top or {}).items()]}
        for token, value, top in zip(tokens, told.get("token_logprobs") or (), tops, strict=False)
    ]


def _entry(token: str, logprob: float | None) -> dict[str, Any]:
    return {"token": token, "logprob": logprob, "bytes": list(token.encode(errors="replace"))}
