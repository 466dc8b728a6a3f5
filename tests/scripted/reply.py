"""What the server is told to answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """One function call; Ollama sends it whole, llama.cpp in fragments."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    id: str | None = None  # None: the id is absent, as older servers have it
    index: int | None = None  # None: its place in the list; Ollama may say 0 for all of them


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """What one streamed object carries; thinking, content and tool calls may share it."""

    content: str = ""
    thinking: str = ""
    tool_calls: tuple[ToolCall, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What the next matching request gets.

    A piece is one object of a native stream, or one delta of an OpenAI stream. Faults happen after so many
    pieces, at the latest after the last one.
    """

    content: str | Sequence[str | Piece] = ()
    thinking: str | Sequence[str] = ()
    tool_calls: Sequence[ToolCall] = ()
    tool_calls_together: bool = True  # natively: all calls in one object, or one object for each
    argument_pieces: int = 2  # OpenAI: into how many deltas the arguments of a call are cut
    reasoning_key: str = "reasoning_content"  # OpenAI: llama.cpp's name; vLLM says "reasoning"
    done_reason: str | None = "stop"  # None: the field is absent
    trailer: Literal["bare", "shared", "no_message"] = "bare"  # natively: what the done object carries
    prompt_tokens: int | None = None  # None: counted; 0 is absent natively (omitempty)
    completion_tokens: int | None = None
    logprobs: Sequence[float] = ()  # one for each piece; when asked for, -0.25 where none is given
    embeddings: Sequence[Sequence[float]] | None = None  # None: computed from the input

    load_delay: float = 0.0  # seconds before any header: a loading Ollama writes nothing
    first_delay: float = 0.0  # seconds before the first piece (natively headers come with that piece)
    delay: float = 0.0  # seconds between pieces; a reply that does not stream takes as long in all

    status: int = 200
    body: bytes | str | Mapping[str, Any] | None = None  # sent as it is; None with an error status: `error`
    headers: Mapping[str, str] = field(default_factory=dict)
    error: str = "llama runner process has terminated: signal: killed"

    error_after: int | None = None
    drop_after: int | None = None
    hang_after: int | None = None
    end_without_done: bool = False
    reset: bool = False  # a drop closes with RST instead of FIN
    split_bytes: int | None = None  # the body in writes of so many bytes, across line ends
    byte_delay: float = 0.0  # seconds between those writes

    @property
    def is_raw(self) -> bool:
        """Tell whether the answer is a status and a body rather than a generation."""
        return self.body is not None or self.status != 200

    @property
    def faulty(self) -> bool:
        return self.end_without_done or any(
            after is not None for after in (self.error_after, self.drop_after, self.hang_after)
        )

    def pieces(self) -> tuple[Piece, ...]:
        """List what is streamed: thinking, then content, then tool calls."""
        thoughts = [self.thinking] if isinstance(self.thinking, str) else self.thinking
        parts = [self.content] if isinstance(self.content, str) else self.content
        calls = tuple(
            call if call.index is not None else replace(call, index=place) for place, call in enumerate(self.tool_calls)
        )
        groups = [calls] if calls and self.tool_calls_together else [(call,) for call in calls]
        return (
            *(Piece(thinking=text) for text in thoughts),
            *(part if isinstance(part, Piece) else Piece(content=part) for part in parts),
            *(Piece(tool_calls=group) for group in groups),
        )

    def token_logprobs(self, top: int) -> list[dict[str, Any] | None]:
        """Make one entry for each piece that has content, in the form that OpenAI and Ollama share."""
        entries: list[dict[str, Any] | None] = []
        for place, piece in enumerate(self.pieces()):
            value = self.logprobs[place] if place < len(self.logprobs) else -0.25
            token = {"token": piece.content, "logprob": value, "bytes": list(piece.content.encode())}
            others = [{"token": f"alt{n}", "logprob": value - n, "bytes": list(b"alt%d" % n)} for n in range(1, top)]
            ranked = [token, *others] if top else []
            entries.append({**token, "top_logprobs": ranked} if piece.content else None)
        return entries
