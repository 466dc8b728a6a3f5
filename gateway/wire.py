"""OpenAI's chat completion, from its JSON and to its JSON. Pure.

Source: openai/openai-python, src/openai/types/chat. What becomes of each parameter is in parameters.py.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from gateway.cited import Cited
from gateway.fields import Fields, invalid, unsupported
from gateway.parameters import NO_EFFECT, REFUSED
from gateway.rag import read_grounding
from gateway.turns import read_messages
from routing.backends import codec
from routing.backends.ollama import THINK_LEVELS
from routing.backends.protocol import (
    OPTION_NAMES,
    ChatRequest,
    Delta,
    Finish,
    Json,
    ResponseFormat,
    Sampling,
    Usage,
)
from routing.exceptions import BadRequest
from routing.mixture.parts import Parts, together

MOST_CHOICES = 16
# OpenAI's own limits of metadata (openai-python, src/openai/types/shared/metadata.py).
MOST_LABELS, LONGEST_LABEL, LONGEST_LABEL_VALUE = 16, 64, 512
# Options of Ollama that clients of local servers send at the top level (api/types.go, Options).
TOP_LEVEL_OPTIONS = ("top_k", "min_p", "typical_p", "repeat_last_n", "repeat_penalty", "num_keep")
LIFTED_OPTIONS = {option: name for name, option in OPTION_NAMES.items()} | {
    name: name for name in ("num_ctx", *TOP_LEVEL_OPTIONS)
}
# Other servers' names of what has a name here.
ALIASES = {
    "max_output_tokens": "max_tokens",
    "max_new_tokens": "max_tokens",
    "num_predict": "max_tokens",
    "n_predict": "max_tokens",
    "stop_sequences": "stop",
    "repetition_penalty": "repeat_penalty",
}
REFUSED_PARAMETERS = frozenset(name for name in REFUSED if "." not in name)
REFUSED_OPTIONS = frozenset(name.removeprefix("options.") for name in REFUSED if name.startswith("options."))
MAY_BE_UNLIMITED = ("num_predict", "n_predict")  # negative: no limit, which max_tokens cannot say


# --- in -----------------------------------------------------------------------------------------------------


def parse_chat(body: bytes) -> ChatRequest:
    """Return the request in ``body``; raises BadRequest naming the parameter that is wrong."""
    try:
        data = codec.loads(body)
    except ValueError as error:
        raise BadRequest(f"The body is not valid JSON: {error}") from error
    if not isinstance(data, dict):
        raise BadRequest("The body must be a JSON object with 'model' and 'messages'.")
    return read_chat(Fields(settled(data)))


def read_chat(fields: Fields) -> ChatRequest:
    """Return the request that ``fields`` (of a settled object) make; raises BadRequest."""
    for name in fields.held(REFUSED_PARAMETERS):
        if fields.raw(name):
            raise _refused(name)
    if any(modality != "text" for modality in fields.array("modalities") or ()):
        raise unsupported("modalities", "Only the modality 'text' is supported.")
    tools, tool_choice = _tools_and_choice(fields)
    effort, think, thinking_ignored = _thinking(fields)
    stream_options = Fields(fields.object("stream_options") or {})
    options, options_ignored = _options(fields)
    extension = Fields(fields.object("moe") or {})
    grounding, grounding_ignored = read_grounding(fields)
    request = ChatRequest(
        model=_model(fields),
        messages=read_messages(fields),
        stream=fields.flag("stream") or False,
        include_usage=stream_options.flag("include_usage") or False,
        sampling=_sampling(fields),
        response_format=_response_format(fields),
        tools=tools,
        tool_choice=tool_choice,
        parallel_tool_calls=fields.flag("parallel_tool_calls"),
        reasoning_effort=effort,
        logprobs=fields.flag("logprobs"),
        top_logprobs=_top_logprobs(fields),
        think=think,
        keep_alive=_keep_alive(fields),
        num_ctx=fields.integer("num_ctx", 4, 100_000_000),
        options=options,
        n=fields.integer("n", 1, MOST_CHOICES) or 1,
        verbosity=_one_of(fields, "verbosity", ("low", "medium", "high")),
        metadata=_metadata(fields),
        explain=_explain(extension),
        grounding=grounding,
    )
    nested = [*_inside("stream_options", stream_options), *_inside("moe", extension)]
    unread = [*fields.unseen(), *nested, *thinking_ignored, *options_ignored, *grounding_ignored]
    ignored = tuple(name for name in unread if name not in NO_EFFECT)
    return replace(request, ignored=ignored) if ignored else request


def _refused(name: str) -> BadRequest:
    return unsupported(name, f"'{name}' is not supported: {REFUSED[name]}.")


def settled(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``data`` with every parameter under the name it has here: aliases, and what stands in ``options``.

    So the client's ``options`` beat an expert's defaults like the parameters do, and work on every kind of server. A
    parameter given both ways counts.
    """
    whole = {name: value for name, value in data.items() if name not in ALIASES}
    given = {alias: data[alias] for alias in ALIASES if data.get(alias) is not None}
    options = data.get("options")
    rest = dict(options) if isinstance(options, dict) else {}
    for alias in MAY_BE_UNLIMITED:
        if alias in given:
            rest.setdefault("num_predict", given.pop(alias))
    lifted = {ALIASES[alias]: value for alias, value in given.items()}
    lifted |= {name: rest.pop(option) for option, name in LIFTED_OPTIONS.items() if rest.get(option) is not None}
    if isinstance(lifted.get("max_tokens"), int | float) and lifted["max_tokens"] < 0:
        rest["num_predict"] = lifted.pop("max_tokens")
    if data.get("max_completion_tokens") is not None:
        lifted.pop("max_tokens", None)
    whole |= {name: value for name, value in lifted.items() if data.get(name) is None}
    if rest and isinstance(options, dict | None):
        whole["options"] = rest
    elif isinstance(options, dict):
        whole["options"] = {}
    if data.get("response_format") is None and data.get("format") not in (None, ""):
        whole["response_format"] = _native_format(data["format"])
    whole.pop("format", None)
    return whole


def _native_format(value: Any) -> Json:
    """Return Ollama's ``format`` in OpenAI's shape."""
    if value == "json":
        return {"type": "json_object"}
    if not isinstance(value, dict):
        raise invalid("format", "'format' must be \"json\" or a JSON Schema object.")
    return {"type": "json_schema", "json_schema": {"name": "format", "schema": value}}


def _inside(name: str, nested: Fields) -> list[str]:
    return [f"{name}.{inner}" for inner in nested.unseen()]


def _one_of(fields: Fields, name: str, values: Sequence[str]) -> str | None:
    value: str | None = fields.get(name, (str,), f"one of {', '.join(values)}")
    if value is not None and value not in values:
        raise invalid(name, f"'{name}' must be one of {', '.join(values)}.")
    return value


def _model(fields: Fields) -> str:
    name = fields.get("model", (str,), "the name of a model, as text")
    if not name or not name.strip():
        raise BadRequest(
            "'model' is missing. Send 'auto', or a name that GET /v1/models lists.",
            param="model",
            code="missing_required_parameter",
        )
    return str(name).strip()


def _sampling(fields: Fields) -> Sampling:
    max_tokens = fields.integer("max_completion_tokens", 1, 2**31)
    if max_tokens is None:
        max_tokens = fields.integer("max_tokens", 1, 2**31)
    return Sampling(
        temperature=fields.number("temperature", 0, 2),
        top_p=fields.number("top_p", 0, 1),
        max_tokens=max_tokens,
        stop=_stop(fields.raw("stop")),
        seed=fields.integer("seed", -(2**63), 2**63 - 1),
        presence_penalty=fields.number("presence_penalty", -2, 2),
        frequency_penalty=fields.number("frequency_penalty", -2, 2),
    )


def _stop(value: Any) -> tuple[str, ...] | None:
    if value is None or value == []:
        return None  # an empty list would wipe the model's own
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list) or not all(isinstance(item, str) and item for item in values):
        raise invalid("stop", "'stop' must be a text or a list of texts, none of them empty.")
    return tuple(values)


def _response_format(fields: Fields) -> ResponseFormat | None:
    raw = fields.object("response_format")
    if raw is None:
        return None
    kind = raw.get("type")
    if kind not in ("text", "json_object", "json_schema"):
        raise invalid("response_format", "'response_format.type' must be text, json_object or json_schema.")
    if kind != "json_schema":
        return ResponseFormat(kind=kind, raw=raw)
    given = raw.get("json_schema")
    schema = given.get("schema") if isinstance(given, dict) else None
    if not isinstance(given, dict) or not isinstance(schema, dict):
        raise invalid("response_format", "'response_format.json_schema.schema' must be a JSON Schema object.")
    if not isinstance(given.get("strict"), bool | None):
        raise invalid("response_format", "'response_format.json_schema.strict' must be true or false.")
    return ResponseFormat(kind=kind, schema=schema, strict=bool(given.get("strict")), raw=raw)


def _tools_and_choice(fields: Fields) -> tuple[tuple[Json, ...], str | Json | None]:
    tools = _tools(fields)
    names = {tool["function"]["name"] for tool in tools}
    choice: str | Json | None = fields.get("tool_choice", (str, dict), "none, auto, required or a function")
    if choice is None or choice in ("none", "auto"):
        return tools, choice
    if isinstance(choice, str) and choice != "required":
        raise invalid("tool_choice", "'tool_choice' must be none, auto, required or a function.")
    if not tools:
        raise invalid("tool_choice", "'tool_choice' needs 'tools' to choose from.")
    if isinstance(choice, str):
        return tools, choice
    if choice.get("type") == "allowed_tools":
        return _allowed_tools(tools, choice.get("allowed_tools"))
    name = _function_name(choice)
    if name not in names:
        raise invalid("tool_choice", "'tool_choice' must name a function that is among 'tools'.")
    return tools, {"type": "function", "function": {"name": name}}


def _tools(fields: Fields) -> tuple[Json, ...]:
    tools = fields.array("tools") or []
    for number, tool in enumerate(tools):
        if not isinstance(tool, dict) or tool.get("type") != "function" or not _function_name(tool):
            raise invalid(f"tools[{number}]", f"'tools[{number}]' must be a function with a name.")
    return tuple(tools)


def _function_name(tool: Any) -> str | None:
    function = tool.get("function") if isinstance(tool, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    return name if isinstance(name, str) and name else None


def _allowed_tools(tools: tuple[Json, ...], allowed: Any) -> tuple[tuple[Json, ...], str]:
    """Return the tools narrowed to those that ``allowed`` names, and its mode."""
    named = allowed.get("tools") if isinstance(allowed, dict) else None
    names = {_function_name(tool) for tool in named} if isinstance(named, list) else set()
    narrowed = tuple(tool for tool in tools if _function_name(tool) in names)
    if not narrowed or allowed.get("mode") not in ("auto", "required"):
        raise invalid(
            "tool_choice", "'tool_choice.allowed_tools' must have mode auto or required, and name some of 'tools'."
        )
    return narrowed, str(allowed["mode"])


def _thinking(fields: Fields) -> tuple[str | None, bool | str | None, list[str]]:
    """Return the effort, whether to think, and the fields of either that nobody reads."""
    reasoning = Fields(fields.object("reasoning") or {})
    template = Fields(fields.object("chat_template_kwargs") or {})
    also = fields.raw("reasoning_effort")
    effort = reasoning.raw("effort") or also
    if effort is not None and (not isinstance(effort, str) or effort not in THINK_LEVELS):
        raise invalid("reasoning_effort", f"'reasoning_effort' must be one of {', '.join(THINK_LEVELS)}.")
    think: bool | str | None = fields.get("think", (bool, str), "true, false, low, medium, high or max")
    if isinstance(think, str) and think not in ("low", "medium", "high", "max"):
        raise invalid("think", "'think' must be true, false, low, medium, high or max.")
    switches = (
        reasoning.flag("enabled"),
        fields.flag("enable_thinking"),
        template.flag("enable_thinking"),
        template.flag("thinking"),
        _anthropic_thinking(fields),
    )
    switch = next((value for value in switches if value is not None), None)
    if think is None and (effort is None or switch is False):
        think = switch
    return effort, think, [*_inside("reasoning", reasoning), *_inside("chat_template_kwargs", template)]


def _anthropic_thinking(fields: Fields) -> bool | None:
    thinking = fields.object("thinking")
    if thinking is None:
        return None
    if thinking.get("type") not in ("enabled", "disabled"):
        raise invalid("thinking", "'thinking.type' must be enabled or disabled.")
    return bool(thinking["type"] == "enabled")


def _top_logprobs(fields: Fields) -> int | None:
    count = fields.integer("top_logprobs", 0, 20)
    if count is not None and not fields.raw("logprobs"):
        raise invalid("top_logprobs", "'top_logprobs' needs 'logprobs' to be true.")
    return count


def _metadata(fields: Fields) -> Json:
    labels = fields.object("metadata") or {}
    if len(labels) > MOST_LABELS:
        raise invalid("metadata", f"'metadata' holds {len(labels)} pairs; {MOST_LABELS} are the most.")
    for name, value in labels.items():
        if not isinstance(value, str):
            raise invalid("metadata", f"'metadata' must hold texts only, and {name[:LONGEST_LABEL]!r} is none.")
        if len(name) > LONGEST_LABEL or len(value) > LONGEST_LABEL_VALUE:
            raise invalid(
                "metadata",
                f"A name in 'metadata' may have {LONGEST_LABEL} characters and a value {LONGEST_LABEL_VALUE}; "
                f"{name[:LONGEST_LABEL]!r} is longer.",
            )
    return labels


def _explain(extension: Fields) -> bool:
    explain = extension.raw("explain")
    if not isinstance(explain, bool | None):
        raise invalid("moe", "'moe.explain' must be true or false.")
    return bool(explain)


def _keep_alive(fields: Fields) -> str | int | float | None:
    value: str | int | float | None = fields.get("keep_alive", (str, int, float), "seconds or a duration such as 5m")
    return value


def _options(fields: Fields) -> tuple[Json, list[str]]:
    """Return what Ollama reads as options and has no parameter of its own, and the names nobody reads."""
    rest = Fields(fields.object("options") or {})
    for name in rest.held(REFUSED_OPTIONS):
        raise _refused(f"options.{name}")
    unlimited = rest.number("num_predict", -(2**31), 2**31)
    options = {name: fields.number(name, -(2**31), 2**31) for name in TOP_LEVEL_OPTIONS} | {"num_predict": unlimited}
    return {name: value for name, value in options.items() if value is not None}, _inside("options", rest)


# --- out ----------------------------------------------------------------------------------------------------


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
        self._running = choices
        self._started: set[int] = set()
        self._cited: dict[int, Cited] = {}
        self._parts: dict[int, Parts] = {}

    def write(self, event: Delta | Cited | Parts | Finish) -> Iterator[dict[str, Any]]:
        if isinstance(event, Cited):
            self._cited[event.index] = event  # goes with the end, which comes next
            return
        if isinstance(event, Parts):
            self._parts[event.index] = event  # so do the last of these
            return
        if event.index not in self._started:
            opening = self._chunk(event.index, {"role": "assistant", "content": ""})
            yield opening | {"moe": self._moe} if self._moe and not self._started else opening
            self._started.add(event.index)
        if isinstance(event, Delta):
            yield self._chunk(event.index, _delta(event), logprobs=event.logprobs)
            return
        chunk = self._end(event, self._cited.get(event.index, Cited()))
        told = self._told(event)
        yield chunk | {"moe": told} if told else chunk
        self._running -= 1
        if self._include_usage and not self._running:
            yield self._envelope([]) | {"usage": usage(event.usage or Usage())}

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
            "usage": usage(self.usage or Usage()),
            **self.extension,
        }
        told = dict(moe or {}) | together([*self.parts.values()])
        told |= {"adjusted": self.adjusted} if self.adjusted else {}
        return completion | {"moe": told} if told else completion


def usage(counts: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": counts.prompt_tokens,
        "completion_tokens": counts.completion_tokens,
        "total_tokens": counts.total_tokens,
    } | dict(counts.details)


def model_object(slug: str, created: int) -> dict[str, Any]:
    return {"id": slug, "object": "model", "created": created, "owned_by": "moe"}
