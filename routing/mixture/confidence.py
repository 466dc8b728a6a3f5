"""How sure a model was of its answer: by the probabilities of its tokens, or by asking it. Pure."""

import math
from collections.abc import Iterable
from dataclasses import replace

from routing.backends import codec
from routing.backends.protocol import ChatRequest, Delta, Message, ResponseFormat, Sampling, Text

LEAST_LOGPROB = -20.0
"""Servers write anything from -9999 to null for a token they give no chance; one of them is not to decide alone."""
SELF_CHECK = (
    "Look at your last answer once more. How likely is it, from 0 to 1, that it is correct and complete? "
    'Write JSON only, like {"confidence": 0.5}.'
)
SELF_CHECK_TOKENS = 40
_SCHEMA = {
    "type": "object",
    "properties": {"confidence": {"type": "number", "minimum": 0, "maximum": 1}},
    "required": ["confidence"],
    "additionalProperties": False,
}
_FORMAT = ResponseFormat(
    kind="json_schema",
    schema=_SCHEMA,
    strict=True,
    raw={"type": "json_schema", "json_schema": {"name": "confidence", "schema": _SCHEMA, "strict": True}},
)


def of_tokens(deltas: Iterable[Delta]) -> float | None:
    """Return the geometric mean of the probabilities of an answer's tokens, 0 to 1; None where no server gave any.

    What a model only thought does not count.
    """
    logprobs = [
        _logprob(entry.get("logprob"))
        for delta in deltas
        if delta.content or not delta.reasoning
        for entry in delta.logprobs
    ]
    return math.exp(sum(logprobs) / len(logprobs)) if logprobs else None


def _logprob(value: object) -> float:
    if not isinstance(value, int | float) or math.isnan(value):
        return LEAST_LOGPROB
    return min(0.0, max(LEAST_LOGPROB, value))


def self_check(request: ChatRequest, answer: str) -> ChatRequest:
    """Return the request that asks who gave ``answer`` to ``request`` how sure it is."""
    said = Message(role="assistant", parts=(Text(text=answer),))
    demand = Message(role="user", parts=(Text(text=SELF_CHECK),))
    return replace(
        request,
        messages=(*request.messages, said, demand),
        sampling=Sampling(temperature=0, max_tokens=SELF_CHECK_TOKENS),
        response_format=_FORMAT,
        options={},
        logprobs=None,
        top_logprobs=None,
        reasoning_effort=None,
        think=False,
        verbosity=None,
    )


def of_words(answer: str) -> float | None:
    """Return the confidence in an answer to a self-check; None where it holds none."""
    try:
        found = codec.loads(answer)
    except ValueError:
        return None
    value = found.get("confidence") if isinstance(found, dict) else None
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    return float(value) if 0 <= value <= 1 else None
