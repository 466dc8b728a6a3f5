"""Embeddings: OpenAI's JSON in and out, and the use case behind every door that gives vectors.

Source: openai/openai-python, src/openai/types/embedding_create_params.py.
"""

import asyncio
import base64
import sys
import time
import uuid
from array import array
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from gateway.account import Account
from gateway.auth import Caller
from gateway.chatanswer import Head
from gateway.completions import Routed
from gateway.fields import invalid, json_object
from gateway.guards.guarding import guarding_for
from gateway.limits.demand import embedding_demand
from gateway.offer import Offer
from routing.backends.embeddings import TEXTS_PER_CALL, EmbeddingCall, Embeddings, joined, shortened
from routing.backends.local import LocalEmbedder, local_embedder
from routing.backends.protocol import Json
from routing.catalog import Replica, catalog
from routing.exceptions import BadRequest, ContextLengthExceeded, EndpointError
from routing.metering import called
from routing.named import IN_PROCESS, decide_embedding
from routing.pool import shared_pool
from routing.trial import Attempt

MOST_TEXTS = 2048  # OpenAI's own limit
# Tokens of a longer text are counted up to here first: counting takes a second per million characters.
FIRST_CHARACTERS = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingRequest:
    """Embeddings as a client asked for them, checked."""

    model: str
    texts: tuple[str, ...]
    base64: bool = False
    dimensions: int | None = None
    truncate: bool = False
    keep_alive: str | int | float | None = None
    options: Json = field(default_factory=dict)


# --- in -----------------------------------------------------------------------------------------------------


def parse_embeddings(body: bytes) -> EmbeddingRequest:
    """Return the request in ``body``; raises BadRequest naming the parameter that is wrong."""
    data = json_object(body, "'model' and 'input'")
    encoding = data.get("encoding_format")
    if encoding not in (None, "float", "base64"):
        raise invalid("encoding_format", "'encoding_format' must be float or base64.")
    return EmbeddingRequest(
        model=_model(data),
        texts=_texts(data.get("input")),
        base64=encoding == "base64",
        dimensions=dimensions(data),
    )


def _model(data: Mapping[str, Any]) -> str:
    name = data.get("model")
    if not isinstance(name, str | None):
        raise invalid("model", "'model' must be the name of a model, as text.")
    if not name or not name.strip():
        raise BadRequest(
            "'model' is missing. Send 'auto', or an embedding model that GET /v1/models lists.",
            param="model",
            code="missing_required_parameter",
        )
    return name.strip()


def _texts(given: Any) -> tuple[str, ...]:
    if given is None:
        raise BadRequest(
            "'input' is missing. Send a text or a list of texts.", param="input", code="missing_required_parameter"
        )
    texts = texts_of(given)
    if not texts:
        raise invalid("input", "'input' is an empty list. Send at least one text.")
    for place, text in enumerate(texts):
        if not text:
            where = "'input'" if isinstance(given, str) else f"'input[{place}]'"
            raise invalid("input", f"{where} is an empty text, which has no embedding. Leave it out.")
    return texts


def texts_of(given: Any) -> tuple[str, ...]:
    """Return ``input`` as texts; raises BadRequest for anything else, token numbers above all."""
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list):
        raise invalid("input", "'input' must be a text or a list of texts.")
    if len(texts) > MOST_TEXTS:
        raise invalid("input", f"'input' holds {len(texts)} texts; {MOST_TEXTS} are the most. Send several requests.")
    if any(isinstance(item, int | list) for item in texts):
        raise invalid(
            "input",
            "'input' must hold texts, not token numbers, which mean something else to every model. In LangChain, use "
            "OpenAIEmbeddings(check_embedding_ctx_length=False).",
        )
    if not all(isinstance(item, str) for item in texts):
        raise invalid("input", "'input' must be a text or a list of texts.")
    return tuple(texts)


def dimensions(data: Mapping[str, Any]) -> int | None:
    value = data.get("dimensions")
    if value is None or (type(value) is int and value >= 1):
        return value
    raise invalid("dimensions", "'dimensions' must be a whole number from 1.")


# --- out ----------------------------------------------------------------------------------------------------


def embedding_list(found: Embeddings, request: EmbeddingRequest, model: str) -> dict[str, Any]:
    """Return OpenAI's answer."""
    return {
        "object": "list",
        "data": [
            {"object": "embedding", "index": place, "embedding": in_base64(vector) if request.base64 else vector}
            for place, vector in enumerate(found.vectors)
        ],
        "model": model,
        "usage": {"prompt_tokens": found.prompt_tokens, "total_tokens": found.prompt_tokens},
    }


def in_base64(vector: Sequence[float]) -> str:
    """Return a vector as the SDKs ask for it: 32-bit floats, little-endian, in base64."""
    packed = array("f", vector)
    if sys.byteorder == "big":
        packed.byteswap()
    return base64.b64encode(packed.tobytes()).decode()


# --- the use case -------------------------------------------------------------------------------------------


async def embed(request: EmbeddingRequest, *, caller: Caller, request_id: str) -> AsyncGenerator[Routed | Embeddings]:
    """Yield Routed for each replica tried, then the embeddings. Raises EndpointError.

    Whoever opens this generator closes it (aclosing): that is what stops the model when a client leaves.
    """
    account = Account(
        what="embeddings", request_id=request_id, caller=caller, asked=request.model, keeps_decision=False
    )
    try:
        guarding = account.guarding = await guarding_for(request.model, caller)
        request = replace(request, texts=await guarding.texts(request.texts, param="input"))
        known = await catalog.aget()
        Offer(caller=caller, known=known).check_embedding(request.model)
        decision = decide_embedding(request.model, known)
        account.decision = decision
        await account.reserve(lambda: embedding_demand(request.texts, decision.expert, shared_pool().tokens))
        head = Head(id=f"embd-{uuid.uuid4().hex}", created=int(time.time()), model=decision.expert.slug)

        def start(replica: Replica) -> AsyncGenerator[Embeddings]:
            return _embedded_on(replica, request)

        if decision.expert is IN_PROCESS:
            events = _in_process(request)
        else:
            events = shared_pool().run(decision, start, tenant=caller.tenant, weight=caller.weight)
        async with aclosing(events):
            async for event in events:
                if isinstance(event, Attempt):
                    account.tried(event)
                    if event.call:
                        event.call.expects = partial(shared_pool().likely_tokens, event.replica, request.texts)
                    yield Routed(decision=decision, replica=event.replica, head=head, guards=guarding.found)
                    continue
                account.saw()
                account.reason = "stop"
                yield event
    except EndpointError as error:
        account.error = error
        raise
    finally:
        account.close()


async def _embedded_on(replica: Replica, request: EmbeddingRequest) -> AsyncGenerator[Embeddings]:
    """Yield all vectors at once: those of one answer all come from one replica, whatever fails on the way."""
    parts = []
    for first in range(0, len(request.texts), TEXTS_PER_CALL):
        call = EmbeddingCall(
            model=replica.model,
            texts=request.texts[first : first + TEXTS_PER_CALL],
            dimensions=request.dimensions,
            truncate=request.truncate,
            keep_alive=replica.keep_alive if request.keep_alive is None else request.keep_alive,
            options=request.options,
        )
        parts.append(await shared_pool().client.embed(replica.server, call))
    yield joined(parts)


async def _in_process(request: EmbeddingRequest) -> AsyncGenerator[Attempt | Embeddings]:
    """Do what the pool does, for the embedder in this process."""
    call = called(IN_PROCESS, IN_PROCESS.replicas[0])
    yield Attempt(replica=call.replica, expert=IN_PROCESS, call=call)
    embedder = local_embedder()
    counted = await asyncio.to_thread(_count, embedder, request)
    call.begin()
    vectors = await embedder.aembed(request.texts)
    found = Embeddings(
        vectors=tuple(shortened(vector, request.dimensions, embedder.model_id) for vector in vectors),
        prompt_tokens=counted,
    )
    call.note(found)
    call.end()
    yield found


def _count(embedder: LocalEmbedder, request: EmbeddingRequest) -> int:
    """Return the tokens that will be read; raises ContextLengthExceeded where some would not be."""
    most, total = embedder.max_text_tokens, 0
    for place, text in enumerate(request.texts):
        partly = len(text) > FIRST_CHARACTERS
        tokens = embedder.count_tokens(text[:FIRST_CHARACTERS])
        if partly and tokens <= most:
            partly, tokens = False, embedder.count_tokens(text)
        if tokens > most and not request.truncate:
            raise ContextLengthExceeded(
                f"The text 'input[{place}]' has {'at least ' if partly else ''}{tokens} tokens, and "
                f"'{embedder.model_id}' reads {most}. Send it in shorter pieces, or ask for a model with a larger "
                "window.",
                param="input",
            )
        total += min(tokens, most)
    return total
