"""Having an Ollama server load a model, as every part of the house does it."""

import re
from collections.abc import Collection
from typing import Any

from routing.backends.client import UpstreamClient
from routing.backends.ollama import keep_alive_value
from routing.backends.protocol import ServerAddress, ServerKind
from routing.exceptions import BadRequest


def full_tag(model: str) -> str:
    """Return ``model`` with the tag Ollama adds when none is given."""
    return model if ":" in model.rsplit("/", 1)[-1] else f"{model}:latest"


def require_ollama(address: ServerAddress) -> None:
    """Raise BadRequest for a server whose models cannot be managed from here."""
    if address.kind is not ServerKind.OLLAMA:
        raise BadRequest(
            f"Pulling, loading, unloading and deleting models works with Ollama servers only, and '{address.name}' is "
            "an OpenAI-compatible one. Manage its models where it runs."
        )


async def model_warm(
    address: ServerAddress,
    client: UpstreamClient,
    name: str,
    num_ctx: int | None = None,
    keep_alive: str | None = None,
    *,
    capabilities: Collection[str] | None = None,
    timeout: float | None = None,
) -> None:
    """Load a model; raises EndpointError.

    ``num_ctx`` is to be the replica's own, for another one makes Ollama load it again with the next request.
    ``capabilities`` are the model's, None where its server does not tell; ``timeout`` in seconds, by default as long as
    a first piece of an answer may take.
    """
    require_ollama(address)
    # Ollama refuses an embedding model at /api/chat, and loads it for an empty input.
    embeds = capabilities is not None and "completion" not in capabilities and "embedding" in capabilities
    body: dict[str, Any] = {"model": name} | ({"input": ""} if embeds else {"messages": [], "stream": False})
    if num_ctx:
        body["options"] = {"num_ctx": num_ctx}
    if keep_alive and re.search("[1-9]", keep_alive):  # zero would unload it again at once
        body["keep_alive"] = keep_alive_value(keep_alive)
    path = "/api/embed" if embeds else "/api/chat"
    await client.request_json(address, "POST", path, body, timeout=timeout or client.timeouts.first_byte, model=name)
