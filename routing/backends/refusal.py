"""What a model server's refusal is to a client: an error of ours, in words that say what to do. Pure."""

import logging
import re
from collections.abc import Mapping

from routing.backends import codec, ollama
from routing.backends.protocol import ServerAddress
from routing.exceptions import (
    BadRequest,
    ContextLengthExceeded,
    EndpointError,
    ModelNotInstalled,
    Unavailable,
    UpstreamBusy,
    UpstreamFailed,
)

logger = logging.getLogger(__name__)

OUT_OF_MEMORY = re.compile(r"out of memory|(?:more|enough|insufficient) (?:system )?memory", re.IGNORECASE)
# llama.cpp's word for a text that does not fit the batch an embedding is computed in (its tools/server).
LARGER_THAN_A_BATCH = re.compile(r"too large to process", re.IGNORECASE)


def refusal(
    server: ServerAddress,
    status: int,
    body: bytes,
    headers: Mapping[str, str],
    model: str,
    *,
    param: str = "messages",
) -> EndpointError:
    """Return the error a client gets for a model server's error response; ``param`` is where its text stood.

    ``body`` may be Ollama's ``{"error": "text"}``, OpenAI's object, nothing at all, or a proxy's HTML page.
    """
    text = _body_text(body)
    if server.api_key:  # some say which key they did not like
        text = text.replace(server.api_key, "…")
    if status in (401, 403):
        logger.error("model server refuses our credentials server=%s status=%s", server.name, status)
        return UpstreamFailed(
            f"The model server '{server.name}' refused the gateway's credentials. An administrator should check "
            "that server's API key.",
            should_retry=False,
        )
    # llama.cpp has sent these as 500 too
    if ollama.speaks_of_context(text) or LARGER_THAN_A_BATCH.search(text):
        what = "text" if param == "input" else "prompt"
        return ContextLengthExceeded(f"The {what} is too long for the model '{model}': {text}", param=param)
    if status == 404:
        return ModelNotInstalled(
            f"The model server '{server.name}' does not have the model '{model}'. An administrator can pull it, or "
            "point the replica at another model."
        )
    if status == 429:
        return UpstreamBusy(
            f"The model server '{server.name}' is asked too often: {text}", retry_after=_retry_after(headers)
        )
    if status == 503:
        return Unavailable(
            f"The model server '{server.name}' cannot take the request now: {text}",
            retry_after=_retry_after(headers),
        )
    if status == 501:  # Ollama and llama.cpp say so of a model that chats when asked for vectors, and vice versa
        return BadRequest(f"The model '{model}' cannot do that: {text}", param="model", code="unsupported_value")
    if status < 500 and status not in (405, 408, 409):
        return BadRequest(
            f"The model server '{server.name}' refused the request: {text}", param=ollama.refused_parameter(text)
        )
    # What no retry mends should not load the server three times over.
    lasting = False if OUT_OF_MEMORY.search(text) else None
    return UpstreamFailed(f"The model server '{server.name}' failed: {text}", should_retry=lasting)


def _body_text(body: bytes) -> str:
    try:
        data = codec.loads(body)
    except ValueError:
        text = body.decode(errors="replace").strip()
        # A proxy's page tells a client nothing but where it passed.
        return text[:500] if text and not text.startswith("<") else "no reason given"
    return ollama.error_text(data)[:2000]


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds a server asked to be left alone, or None if it did not say."""
    try:
        return min(max(0.0, float(headers["retry-after"])), 3600.0)
    except (KeyError, ValueError):
        return None
