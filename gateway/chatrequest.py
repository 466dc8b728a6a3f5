"""OpenAI's chat completion, from the JSON of its request. Pure.

Source: openai/openai-python, src/openai/types/chat. What becomes of each parameter is in parameters.py.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from gateway.aliases import TOP_LEVEL_OPTIONS, settled
from gateway.fields import Fields, invalid, json_object, unsupported
from gateway.parameters import NO_EFFECT, REFUSED
from gateway.rag import read_grounding
from gateway.tools import read_tools
from gateway.turns import read_messages
from routing.backends.ollama import THINK_LEVELS
from routing.backends.protocol import ChatRequest, Json, ResponseFormat, Sampling
from routing.exceptions import BadRequest

MOST_CHOICES = 16
# OpenAI's own limits of metadata (openai-python, src/openai/types/shared/metadata.py).
MOST_LABELS, LONGEST_LABEL, LONGEST_LABEL_VALUE = 16, 64, 512
REFUSED_PARAMETERS = frozenset(name for name in REFUSED if "." not in name)
REFUSED_OPTIONS = frozenset(name.removeprefix("options.") for name in REFUSED if name.startswith("options."))


def parse_chat(body: bytes) -> ChatRequest:
    """Return the request in ``body``; raises BadRequest naming the parameter that is wrong."""
    return read_chat(Fields(settled(json_object(body, "'model' and 'messages'"))))


def read_chat(fields: Fields) -> ChatRequest:
    """Return the request that ``fields`` (of a settled object) make; raises BadRequest."""
    for name in fields.held(REFUSED_PARAMETERS):
        if fields.raw(name):
            raise _refused(name)
    if any(modality != "text" for modality in fields.array("modalities") or ()):
        raise unsupported("modalities", "Only the modality 'text' is supported.")
    tools, tool_choice = read_tools(fields)
    effort, think, thinking_ignored = _thinking(fields)
    stream_options = Fields(fields.object("stream_options") or {}, inside="stream_options")
    options, options_ignored = _options(fields)
    extension = Fields(fields.object("moe") or {}, inside="moe")
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


def _thinking(fields: Fields) -> tuple[str | None, bool | str | None, list[str]]:
    """Return the effort, whether to think, and the fields of either that nobody reads."""
    reasoning = Fields(fields.object("reasoning") or {}, inside="reasoning")
    template = Fields(fields.object("chat_template_kwargs") or {}, inside="chat_template_kwargs")
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
    rest = Fields(fields.object("options") or {}, inside="options")
    for name in rest.held(REFUSED_OPTIONS):
        raise _refused(f"options.{name}")
    unlimited = rest.number("num_predict", -(2**31), 2**31)
    options = {name: fields.number(name, -(2**31), 2**31) for name in TOP_LEVEL_OPTIONS} | {"num_predict": unlimited}
    return {name: value for name, value in options.items() if value is not None}, _inside("options", rest)
