"""OpenAI's chat completion, from its JSON and to its JSON. Pure.

Source: openai/openai-python, src/openai/types/chat.
"""

import base64
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from routing.backends import codec
from routing.backends.ollama import THINK_LEVELS
from routing.backends.protocol import (
    OPTION_NAMES,
    ChatRequest,
    Delta,
    Finish,
    Image,
    Json,
    Message,
    Part,
    ResponseFormat,
    Sampling,
    Text,
    ToolCall,
    Usage,
)
from routing.exceptions import BadRequest

ROLES = ("system", "developer", "user", "assistant", "tool")
DATA_URI = re.compile(r"data:(?P<mime>[\w.+-]+/[\w.+-]+)?(?:;[\w=.+-]+)*;base64,(?P<data>.*)\Z", re.DOTALL)

# Options of Ollama that clients of local servers send at the top level (api/types.go, Options).
TOP_LEVEL_OPTIONS = ("top_k", "min_p", "typical_p", "repeat_last_n", "repeat_penalty", "num_keep")
LIFTED_OPTIONS = {option: name for name, option in OPTION_NAMES.items()} | {"num_ctx": "num_ctx"}
# Parameters that would change the answer and that nothing here can carry out.
REFUSED = {
    "logit_bias": "token numbers differ from model to model; leave it out",
    "audio": "no model here speaks; leave it out",
    "functions": "use 'tools' instead",
    "function_call": "use 'tool_choice' instead",
    "web_search_options": "there is no web search; leave it out",
}


# --- in -----------------------------------------------------------------------------------------------------


def parse_chat(body: bytes) -> ChatRequest:
    """Return the request in ``body``; raises BadRequest naming the parameter that is wrong."""
    try:
        data = codec.loads(body)
    except ValueError as error:
        raise BadRequest(f"The body is not valid JSON: {error}") from error
    if not isinstance(data, dict):
        raise BadRequest("The body must be a JSON object with 'model' and 'messages'.")
    fields = _Fields(_with_options_lifted(data))
    for name, why in REFUSED.items():
        if data.get(name):
            raise _unsupported(name, f"'{name}' is not supported: {why}.")
    if (fields.number("n", 1, 128, whole=True) or 1) > 1:
        raise _unsupported("n", "Only n=1 is supported. Send the request several times instead.")
    if any(modality != "text" for modality in fields.array("modalities") or ()):
        raise _unsupported("modalities", "Only the modality 'text' is supported.")
    return ChatRequest(
        model=_model(fields),
        messages=_messages(fields),
        stream=fields.flag("stream") or False,
        include_usage=_Fields(fields.object("stream_options") or {}).flag("include_usage") or False,
        sampling=_sampling(fields),
        response_format=_response_format(fields),
        tools=_tools(fields),
        tool_choice=_tool_choice(fields),
        parallel_tool_calls=fields.flag("parallel_tool_calls"),
        reasoning_effort=_reasoning_effort(fields),
        logprobs=fields.flag("logprobs"),
        top_logprobs=_top_logprobs(fields),
        think=_think(fields),
        keep_alive=_keep_alive(fields),
        num_ctx=fields.integer("num_ctx", 4, 100_000_000),
        options=_options(fields),
    )


def _with_options_lifted(data: dict[str, Any]) -> dict[str, Any]:
    """Return ``data`` with those of Ollama's options that have a parameter of their own put there.

    So the client's ``options`` beat an expert's defaults like the parameters do, and work on every kind of server. A
    parameter given both ways counts.
    """
    options = data.get("options")
    if not isinstance(options, dict):
        return data
    rest = dict(options)
    lifted = {LIFTED_OPTIONS[name]: rest.pop(name) for name in LIFTED_OPTIONS if rest.get(name) is not None}
    if isinstance(lifted.get("max_tokens"), int | float) and lifted["max_tokens"] < 0:
        rest["num_predict"] = lifted.pop("max_tokens")  # "no limit", which the parameter cannot say
    if data.get("max_completion_tokens") is not None:
        lifted.pop("max_tokens", None)
    return data | {name: value for name, value in lifted.items() if data.get(name) is None} | {"options": rest}


class _Fields:
    """A JSON object read with types checked; null counts as absent, as with OpenAI."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        self.data = data

    def get(self, name: str, kinds: tuple[type, ...], words: str) -> Any:
        value = self.data.get(name)
        if value is None:
            return None
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            raise _invalid(name, f"'{name}' must be {words}.")
        return value

    def flag(self, name: str) -> bool | None:
        value: bool | None = self.get(name, (bool,), "true or false")
        return value

    def object(self, name: str) -> dict[str, Any] | None:
        value: dict[str, Any] | None = self.get(name, (dict,), "an object")
        return value

    def array(self, name: str) -> list[Any] | None:
        value: list[Any] | None = self.get(name, (list,), "a list")
        return value

    def number(self, name: str, low: float, high: float, *, whole: bool = False) -> float | None:
        words = f"{'a whole number' if whole else 'a number'} from {low:g} to {high:g}"
        value: float | None = self.get(name, (int, float), words)
        if value is not None and (not low <= value <= high or (whole and value != int(value))):
            raise _invalid(name, f"'{name}' must be {words}.")
        return value

    def integer(self, name: str, low: int, high: int) -> int | None:
        value = self.number(name, low, high, whole=True)
        return None if value is None else int(value)


def _invalid(param: str, message: str) -> BadRequest:
    return BadRequest(message, param=param, code="invalid_value")


def _unsupported(param: str, message: str) -> BadRequest:
    return BadRequest(message, param=param, code="unsupported_parameter")


def _model(fields: _Fields) -> str:
    name = fields.get("model", (str,), "the name of a model, as text")
    if not name or not name.strip():
        raise BadRequest(
            "'model' is missing. Send 'auto', or a name that GET /v1/models lists.",
            param="model",
            code="missing_required_parameter",
        )
    return str(name).strip()


def _sampling(fields: _Fields) -> Sampling:
    max_tokens = fields.integer("max_completion_tokens", 1, 2**31)
    if max_tokens is None:
        max_tokens = fields.integer("max_tokens", 1, 2**31)
    return Sampling(
        temperature=fields.number("temperature", 0, 2),
        top_p=fields.number("top_p", 0, 1),
        max_tokens=max_tokens,
        stop=_stop(fields.data.get("stop")),
        seed=fields.integer("seed", -(2**63), 2**63 - 1),
        presence_penalty=fields.number("presence_penalty", -2, 2),
        frequency_penalty=fields.number("frequency_penalty", -2, 2),
    )


def _stop(value: Any) -> tuple[str, ...] | None:
    if value is None or value == []:
        return None  # an empty list would wipe the model's own
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list) or not all(isinstance(item, str) and item for item in values):
        raise _invalid("stop", "'stop' must be a text or a list of texts, none of them empty.")
    return tuple(values)


def _response_format(fields: _Fields) -> ResponseFormat | None:
    raw = fields.object("response_format")
    if raw is None:
        return None
    kind = raw.get("type")
    if kind not in ("text", "json_object", "json_schema"):
        raise _invalid("response_format", "'response_format.type' must be text, json_object or json_schema.")
    if kind != "json_schema":
        return ResponseFormat(kind=kind, raw=raw)
    schema = (raw.get("json_schema") or {}).get("schema") if isinstance(raw.get("json_schema"), dict | None) else None
    if not isinstance(schema, dict):
        raise _invalid("response_format", "'response_format.json_schema.schema' must be a JSON Schema object.")
    return ResponseFormat(kind=kind, schema=schema, raw=raw)


def _tools(fields: _Fields) -> tuple[Json, ...]:
    tools = fields.array("tools") or []
    for number, tool in enumerate(tools):
        function = tool.get("function") if isinstance(tool, dict) and tool.get("type") == "function" else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str) or not function["name"]:
            raise _invalid(f"tools[{number}]", f"'tools[{number}]' must be a function with a name.")
    return tuple(tools)


def _tool_choice(fields: _Fields) -> str | Json | None:
    choice: str | Json | None = fields.get("tool_choice", (str, dict), "none, auto, required or a function")
    if choice is None:
        return None
    if isinstance(choice, str) and choice not in ("none", "auto", "required"):
        raise _invalid("tool_choice", "'tool_choice' must be none, auto, required or a function.")
    if choice not in ("none", "auto") and not fields.data.get("tools"):
        raise _invalid("tool_choice", "'tool_choice' needs 'tools' to choose from.")
    return choice


def _reasoning_effort(fields: _Fields) -> str | None:
    effort = (fields.object("reasoning") or {}).get("effort") or fields.data.get("reasoning_effort")
    if effort is None:
        return None
    if not isinstance(effort, str) or effort not in THINK_LEVELS:
        raise _invalid("reasoning_effort", f"'reasoning_effort' must be one of {', '.join(THINK_LEVELS)}.")
    return str(effort)


def _top_logprobs(fields: _Fields) -> int | None:
    count = fields.integer("top_logprobs", 0, 20)
    if count is not None and not fields.data.get("logprobs"):
        raise _invalid("top_logprobs", "'top_logprobs' needs 'logprobs' to be true.")
    return count


def _think(fields: _Fields) -> bool | str | None:
    think: bool | str | None = fields.get("think", (bool, str), "true, false, low, medium, high or max")
    if isinstance(think, str) and think not in ("low", "medium", "high", "max"):
        raise _invalid("think", "'think' must be true, false, low, medium, high or max.")
    return think


def _keep_alive(fields: _Fields) -> str | int | float | None:
    value: str | int | float | None = fields.get("keep_alive", (str, int, float), "seconds or a duration such as 5m")
    return value


def _options(fields: _Fields) -> Json:
    options = dict(fields.object("options") or {})
    for name in TOP_LEVEL_OPTIONS:
        if fields.data.get(name) is not None:
            options[name] = fields.number(name, -(2**31), 2**31)
    return options


# --- messages -----------------------------------------------------------------------------------------------


def _messages(fields: _Fields) -> tuple[Message, ...]:
    messages = fields.array("messages")
    if not messages:
        raise BadRequest(
            '\'messages\' is missing or empty. Send at least one, such as {"role": "user", "content": "Hello"}.',
            param="messages",
            code="missing_required_parameter" if messages is None else "invalid_value",
        )
    return tuple(_message(message, f"messages[{number}]") for number, message in enumerate(messages))


READ_OF_MESSAGE = frozenset(
    {"role", "content", "name", "tool_calls", "tool_call_id", "reasoning", "reasoning_content", "thinking"}
)


def _message(data: Any, where: str) -> Message:
    if not isinstance(data, dict):
        raise _invalid(where, f"'{where}' must be an object with 'role' and 'content'.")
    role = data.get("role")
    if role not in ROLES:
        raise _invalid(f"{where}.role", f"'{where}.role' must be one of {', '.join(ROLES)}.")
    tool_calls = _tool_calls(data.get("tool_calls"), f"{where}.tool_calls")
    content = data.get("content")
    if content is None and not tool_calls and role != "assistant":
        raise _invalid(f"{where}.content", f"'{where}.content' is missing.")
    for name in ("name", "tool_call_id"):
        if not isinstance(data.get(name), str | None):
            raise _invalid(f"{where}.{name}", f"'{where}.{name}' must be a text.")
    reasoning = next((data[name] for name in ("reasoning_content", "reasoning", "thinking") if data.get(name)), "")
    return Message(
        role=role,
        parts=_parts(content, f"{where}.content"),
        content_is_null=content is None,
        reasoning=reasoning if isinstance(reasoning, str) else "",
        tool_calls=tool_calls,
        tool_call_id=data.get("tool_call_id"),
        name=data.get("name"),
        extra={name: value for name, value in data.items() if name not in READ_OF_MESSAGE},
    )


def _parts(content: Any, where: str) -> tuple[Part, ...]:
    if content is None:
        return ()
    if isinstance(content, str):
        return (Text(text=content),)
    if not isinstance(content, list):
        raise _invalid(where, f"'{where}' must be a text or a list of parts.")
    return tuple(_part(part, f"{where}[{number}]") for number, part in enumerate(content))


def _part(part: Any, where: str) -> Part:
    kind = part.get("type") if isinstance(part, dict) else None
    read = PART_READERS.get(kind) if isinstance(kind, str) else None
    if read is None:
        raise _invalid(where, f"'{where}' must be a part of type text or image_url.")
    return read(part, where)


def _text_part(part: Json, where: str) -> Text:
    text = part.get("text", part.get("refusal"))
    if not isinstance(text, str):
        raise _invalid(where, f"'{where}.text' must be a text.")
    return Text(text=text)


def _image_part(part: Json, where: str) -> Image:
    source = part.get("image_url")
    url = source.get("url") if isinstance(source, dict) else source
    if not isinstance(url, str) or not url:
        raise _invalid(where, f"'{where}.image_url.url' must be a data URI.")
    found = DATA_URI.match(url)
    if not found:
        raise BadRequest(
            f"'{where}.image_url.url' must hold the image itself, as data:image/png;base64,… .",
            param=where,
            code="invalid_image_url",
        )
    if not found["data"].strip() or not _is_base64(found["data"].strip()):
        raise BadRequest(f"'{where}.image_url.url' holds no valid base64.", param=where, code="invalid_image_url")
    detail = source.get("detail") if isinstance(source, dict) else None
    return Image(
        data=found["data"].strip(),
        mime=found["mime"] or "",
        detail=detail if isinstance(detail, str) else None,
    )


def _is_base64(text: str) -> bool:
    try:
        base64.b64decode(text, validate=True)
    except ValueError:
        return False
    return True


PART_READERS: Mapping[str, Callable[[Json, str], Part]] = {
    "text": _text_part,
    "refusal": _text_part,
    "image_url": _image_part,
}


def _tool_calls(value: Any, where: str) -> tuple[ToolCall, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise _invalid(where, f"'{where}' must be a list.")
    return tuple(_tool_call(call, f"{where}[{number}]") for number, call in enumerate(value))


def _tool_call(call: Any, where: str) -> ToolCall:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise _invalid(where, f"'{where}' must hold a function with a name.")
    arguments = function.get("arguments") or "{}"
    if isinstance(arguments, dict):
        arguments = codec.dumps(arguments).decode()
    try:
        valid = isinstance(codec.loads(arguments), dict)
    except (ValueError, TypeError):
        valid = False
    if not valid:
        raise _invalid(
            f"{where}.function.arguments", f"'{where}.function.arguments' must be the JSON text of an object."
        )
    return ToolCall(id=str(call.get("id") or ""), name=function["name"], arguments=arguments)


# --- out ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What every object of one answer has in common; ``created`` in seconds since 1970."""

    id: str
    created: int
    model: str


class ChunkWriter:
    """Events into chat.completion.chunk objects, in the order OpenAI sends them."""

    def __init__(self, head: Head, *, include_usage: bool) -> None:
        self._head = head
        self._include_usage = include_usage
        self._started = False

    def write(self, event: Delta | Finish) -> Iterator[dict[str, Any]]:
        if not self._started:
            self._started = True
            yield self._chunk({"role": "assistant", "content": ""})
        if isinstance(event, Delta):
            yield self._chunk(_delta(event), logprobs=event.logprobs)
            return
        yield self._chunk({}, finish_reason=event.reason)
        if self._include_usage:
            yield self._envelope([]) | {"usage": usage(event.usage or Usage())}

    def _chunk(
        self, delta: dict[str, Any], *, finish_reason: str | None = None, logprobs: Sequence[Json] = ()
    ) -> dict[str, Any]:
        choice: dict[str, Any] = {"index": 0, "delta": delta, "finish_reason": finish_reason}
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
    """Events into one chat.completion object."""

    content: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    logprobs: list[Json] = field(default_factory=list)
    calls: dict[int, dict[str, str]] = field(default_factory=dict)
    finish: Finish | None = None

    def add(self, event: Delta | Finish) -> None:
        if isinstance(event, Finish):
            self.finish = event
            return
        self.content.append(event.content)
        self.reasoning.append(event.reasoning)
        self.logprobs.extend(event.logprobs)
        for piece in event.tool_calls:
            call = self.calls.setdefault(piece.index, {"id": "", "name": "", "arguments": ""})
            call["id"] += piece.id or ""
            call["name"] += piece.name or ""
            call["arguments"] += piece.arguments

    def completion(self, head: Head) -> dict[str, Any]:
        """Return the whole answer; ``finish`` must have been added."""
        assert self.finish is not None
        content, reasoning = "".join(self.content), "".join(self.reasoning)
        message: dict[str, Any] = {
            "role": "assistant",
            "content": content if content or not self.calls else None,
        }
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
        choice: dict[str, Any] = {"index": 0, "message": message, "finish_reason": self.finish.reason}
        if self.logprobs:
            choice["logprobs"] = {"content": self.logprobs}
        return {
            "id": head.id,
            "object": "chat.completion",
            "created": head.created,
            "model": head.model,
            "choices": [choice],
            "usage": usage(self.finish.usage or Usage()),
        }


def usage(counts: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": counts.prompt_tokens,
        "completion_tokens": counts.completion_tokens,
        "total_tokens": counts.total_tokens,
    } | dict(counts.details)


def model_object(slug: str, created: int) -> dict[str, Any]:
    return {"id": slug, "object": "model", "created": created, "owned_by": "moe"}
