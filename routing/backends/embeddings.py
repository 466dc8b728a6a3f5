"""Embeddings of both kinds of model servers: a call into JSON, the answer back. Pure.

Sources: ollama/ollama, api/types.go (EmbedRequest, EmbedResponse); openai/openai-python,
src/openai/types/create_embedding_response.py.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from routing.backends.protocol import Json, ServerKind
from routing.exceptions import BadRequest, UpstreamFailed

PATHS: Mapping[ServerKind, str] = {ServerKind.OLLAMA: "/api/embed", ServerKind.OPENAI: "/v1/embeddings"}
# Texts of one upstream call: small enough for its time limit on a slow machine, large enough to batch well.
TEXTS_PER_CALL = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingCall:
    """Texts for one model; ``dimensions`` None: as many as the model has.

    ``truncate`` is true only where the client said that the ends of long texts may be lost. ``options`` and
    ``keep_alive`` are Ollama's; elsewhere they have nothing to act on.
    """

    model: str
    texts: tuple[str, ...]
    dimensions: int | None = None
    truncate: bool = False
    keep_alive: str | int | float | None = None
    options: Json = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Embeddings:
    """One vector a text, in the order of the texts."""

    vectors: tuple[Sequence[float], ...]
    prompt_tokens: int = 0


def payload(kind: ServerKind, call: EmbeddingCall) -> dict[str, Any]:
    """Return the body that asks for ``call``.

    Only Ollama is asked for fewer dimensions: others refuse it for most models, so their vectors are cut here.
    """
    if kind is ServerKind.OPENAI:
        return {"model": call.model, "input": list(call.texts), "encoding_format": "float"}
    asked = {
        "dimensions": call.dimensions,
        "keep_alive": call.keep_alive,
        "options": {name: value for name, value in call.options.items() if value is not None} or None,
    }
    return {
        "model": call.model,
        "input": list(call.texts),
        "truncate": call.truncate,
    } | {name: value for name, value in asked.items() if value is not None}


def parse(kind: ServerKind, answer: Any, call: EmbeddingCall) -> Embeddings:
    """Return what a model server answered; raises UpstreamFailed unless there is a vector for each text.

    Raises BadRequest when the vectors are shorter than ``call.dimensions``.
    """
    data = answer if isinstance(answer, dict) else {}
    if kind is ServerKind.OLLAMA:
        vectors, tokens = data.get("embeddings"), data.get("prompt_eval_count")
    else:
        vectors, tokens = _in_order(data.get("data")), (data.get("usage") or {}).get("prompt_tokens")
    if not isinstance(vectors, list) or len(vectors) != len(call.texts) or not all(map(_is_vector, vectors)):
        raise UpstreamFailed(f"The model server did not answer with a vector for each of {len(call.texts)} texts.")
    return Embeddings(
        vectors=tuple(shortened(vector, call.dimensions, call.model) for vector in vectors),
        prompt_tokens=tokens or 0,
    )


def _in_order(items: Any) -> list[Any] | None:
    """Return the vectors of OpenAI's ``data`` by their index."""
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        return None
    places = [item.get("index", place) for place, item in enumerate(items)]
    if sorted(places) != list(range(len(items))):
        return None
    found = dict(zip(places, items, strict=True))
    return [found[place].get("embedding") for place in range(len(items))]


def _is_vector(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(type(item) in (float, int) for item in value)


def shortened(vector: Sequence[float], dimensions: int | None, model: str) -> Sequence[float]:
    """Return the first ``dimensions`` values, at length 1 again, which is how OpenAI shortens its own vectors.

    Raises BadRequest when the vector has fewer.
    """
    if dimensions is None or dimensions == len(vector):
        return vector
    if dimensions > len(vector):
        raise BadRequest(
            f"'dimensions' is {dimensions}, but the vectors of '{model}' have {len(vector)}. Ask for fewer.",
            param="dimensions",
            code="invalid_value",
        )
    kept = vector[:dimensions]
    length = math.sqrt(math.fsum(value * value for value in kept))
    return [value / length for value in kept] if length else kept


def joined(parts: Sequence[Embeddings]) -> Embeddings:
    """Return the answers of several calls as one."""
    return Embeddings(
        vectors=tuple(vector for part in parts for vector in part.vectors),
        prompt_tokens=sum(part.prompt_tokens for part in parts),
    )
