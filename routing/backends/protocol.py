"""The values that travel between the door, the pool and the model servers: frozen, and without I/O."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

Json = Mapping[str, Any]


class ServerKind(StrEnum):
    """Which protocol a model server speaks."""

    OLLAMA = "ollama"
    OPENAI = "openai"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerAddress:
    """Where a model server is and how to speak to it; ``base_url`` has no path of the protocol and no end slash."""

    name: str
    kind: ServerKind
    base_url: str
    api_key: str = field(default="", repr=False)


# --- a request ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image: ``data`` is bare base64, ``mime`` its media type ("" when not told).

    With a ``url`` it has yet to be fetched, and ``data`` is empty (see images.py).
    """

    data: str
    mime: str = ""
    detail: str | None = None
    url: str = ""


Part = Text | Image


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """A complete call: ``arguments`` is the JSON text of an object."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One turn; ``extra`` holds the client's fields that nobody here reads."""

    role: str
    parts: tuple[Part, ...] = ()
    content_is_null: bool = False
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    name: str | None = None
    extra: Json = field(default_factory=dict)

    @property
    def text(self) -> str:
        return "".join(part.text for part in self.parts if isinstance(part, Text))

    @property
    def images(self) -> tuple[Image, ...]:
        return tuple(part for part in self.parts if isinstance(part, Image))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """What the client asked of sampling; None means it did not, and the model's own defaults live."""

    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] | None = None
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None


# A sampling parameter's name among Ollama's options (api/types.go, Options), where a client may put it too.
OPTION_NAMES: Mapping[str, str] = {
    "temperature": "temperature",
    "top_p": "top_p",
    "max_tokens": "num_predict",
    "stop": "stop",
    "seed": "seed",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseFormat:
    """``kind`` is "text", "json_object" or "json_schema"; ``schema`` and ``strict`` belong to the last."""

    kind: str
    schema: Json | None = None
    strict: bool = False
    raw: Json = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grounding:
    """What a client says of grounding its answer in the knowledge base; what is None or empty it leaves to others.

    ``wanted`` False keeps an answer ungrounded whatever rules and profiles say. ``collections`` are slugs, ``filters``
    a tree of comparisons that was checked, ``mode`` hybrid, vector or text. ``condense`` False searches a follow-up
    as it stands.
    """

    wanted: bool = True
    collections: tuple[str, ...] = ()
    top_k: int | None = None
    filters: Json | None = None
    mode: str | None = None
    condense: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """A chat completion as a client asked for it, checked.

    ``n`` is how many answers; each is a call of its own. ``tool_choice`` is "none", "auto", "required" or
    ``{"type": "function", "function": {"name": …}}``. ``metadata`` are a client's labels, which rules may look at, and
    ``explain`` asks for the decision's why in the answer. ``grounding`` is None for a client that says nothing of it.
    ``preface`` is how many messages at the beginning are no part of the conversation and may change from turn to turn.
    ``ignored`` names what the client sent and nobody here reads.
    """

    model: str
    messages: tuple[Message, ...]
    stream: bool = False
    include_usage: bool = False
    sampling: Sampling = field(default_factory=Sampling)
    response_format: ResponseFormat | None = None
    tools: tuple[Json, ...] = ()
    tool_choice: str | Json | None = None
    parallel_tool_calls: bool | None = None
    reasoning_effort: str | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    think: bool | str | None = None
    keep_alive: str | int | float | None = None
    num_ctx: int | None = None
    options: Json = field(default_factory=dict)
    n: int = 1
    verbosity: str | None = None
    metadata: Json = field(default_factory=dict)
    explain: bool = False
    grounding: Grounding | None = None
    preface: int = 0
    ignored: tuple[str, ...] = field(default=(), compare=False)

    @property
    def named_tool(self) -> str | None:
        """The one function that ``tool_choice`` asks for, if it does."""
        return None if self.tool_choice is None or isinstance(self.tool_choice, str) else _name_of(self.tool_choice)

    @property
    def must_call(self) -> bool:
        """Whether an answer without a tool call is none."""
        return bool(self.tools) and self.tool_choice not in (None, "none", "auto")

    @property
    def offered_tools(self) -> tuple[Json, ...]:
        """The tools the model may call: none, all, or the one that is named."""
        if self.tool_choice == "none":
            return ()
        named = self.named_tool
        return self.tools if named is None else tuple(tool for tool in self.tools if _name_of(tool) == named)

    @property
    def has_images(self) -> bool:
        return any(message.images for message in self.messages)


def _name_of(tool: Json) -> str:
    name: str = tool["function"]["name"]
    return name


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatCall:
    """A chat as one replica shall run it: the client's request with the expert's and replica's part filled in.

    ``capabilities`` is what the model says it can do, or None when its server does not tell.
    """

    model: str
    request: ChatRequest
    messages: tuple[Message, ...]
    num_ctx: int | None = None
    keep_alive: str | int | float | None = None
    capabilities: frozenset[str] | None = None


# --- an answer ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCallDelta:
    """A piece of a tool call: ``id`` and ``name`` come once per ``index``, arguments in fragments."""

    index: int
    id: str | None = None
    name: str | None = None
    arguments: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delta:
    """A piece of an answer; ``index`` says of which, where a request wants several (n)."""

    index: int = 0
    content: str = ""
    reasoning: str = ""
    tool_calls: tuple[ToolCallDelta, ...] = ()
    logprobs: tuple[Json, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens as the model server counted them; ``details`` are its own finer counts, if it gives any."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    details: Json = field(default_factory=dict)

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            completion_tokens=self.completion_tokens + other.completion_tokens,
            details=_added(self.details, other.details),
        )


def _added(one: Json, other: Json) -> Json:
    """Return the counts of both, added up at every depth; what is no number is taken from the first."""
    both: dict[str, Any] = dict(other) | dict(one)
    for name in one.keys() & other.keys():
        if isinstance(one[name], Mapping) and isinstance(other[name], Mapping):
            both[name] = _added(one[name], other[name])
        elif isinstance(one[name], int) and isinstance(other[name], int):
            both[name] = one[name] + other[name]
    return both


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    """The end of an answer; ``reason`` is one of OpenAI's finish reasons.

    ``adjusted`` names parameters of the request that were carried out otherwise than a client may expect:
    parallel_tool_calls when calls were left out, messages when the server read only a part of the prompt.
    """

    index: int = 0
    reason: str
    usage: Usage | None = None
    adjusted: tuple[str, ...] = ()


ChatEvent = Delta | Finish
