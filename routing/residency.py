"""Which models are in a server's memory, as far as we know, and loads that several requests share."""

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from routing.backends.client import UpstreamClient
from routing.backends.loading import full_tag, model_warm
from routing.backends.protocol import ServerAddress, ServerKind
from routing.catalog import Replica
from routing.exceptions import EndpointError, UpstreamTimedOut
from routing.lanes import lane_key
from routing.metrics import load_seconds

logger = logging.getLogger(__name__)

FRESH_SECONDS = 5.0
PROBE_SECONDS = 2.0


@dataclass(slots=True)
class Resident:
    """A loaded model; ``window`` in tokens, None where the server does not tell.

    ``seen_at`` is when it last answered here, of time.monotonic().
    """

    window: int | None = None
    seen_at: float = float("-inf")


@dataclass(slots=True)
class ServerMemory:
    """``models`` by full tag; ``known`` is false until the server told once, or where it never does."""

    models: dict[str, Resident] = field(default_factory=dict)
    known: bool = False
    asked_at: float = float("-inf")
    asking: "asyncio.Task[None] | None" = None


class Residency:
    """Asks /api/ps when what it knows grows old, never more than once at a time a server, and loads models."""

    def __init__(self, client: UpstreamClient, *, load_seconds: float) -> None:
        self._client = client
        self._load_seconds = load_seconds
        self._servers: dict[str, ServerMemory] = {}
        self._loads: dict[tuple[str, str, int | None], asyncio.Task[None]] = {}

    def memory(self, server: ServerAddress) -> ServerMemory:
        return self._servers.setdefault(server.base_url, ServerMemory())

    def resident(self, replica: Replica) -> bool | None:
        """Tell whether a request would start at once; None where the server does not say."""
        if replica.server.kind is not ServerKind.OLLAMA:
            return None
        memory = self.memory(replica.server)
        if not memory.known:
            return None
        loaded = memory.models.get(full_tag(replica.model))
        if loaded is None:
            return False
        # Another window than the loaded one makes Ollama load the model again.
        return replica.num_ctx is None or loaded.window is None or loaded.window == replica.num_ctx

    def window(self, replica: Replica) -> int | None:
        """Return how many tokens the replica's context holds, as far as anybody told."""
        if replica.num_ctx or replica.server.kind is not ServerKind.OLLAMA:
            return replica.num_ctx or replica.context_length
        loaded = self.memory(replica.server).models.get(full_tag(replica.model))
        return loaded.window if loaded else None

    def loading(self, replica: Replica) -> bool:
        return _load_key(replica) in self._loads

    async def refresh(self, server: ServerAddress) -> None:
        """Bring what is known of a server up to date: wait for it the first time, in the background after that."""
        if server.kind is not ServerKind.OLLAMA:
            return
        memory = self.memory(server)
        if time.monotonic() - memory.asked_at < FRESH_SECONDS:
            return
        if memory.asking is None:
            memory.asking = asyncio.create_task(self._ask(server, memory))
        if memory.asked_at == float("-inf"):
            await asyncio.shield(memory.asking)

    async def _ask(self, server: ServerAddress, memory: ServerMemory) -> None:
        began = time.monotonic()
        try:
            answer = await self._client.request_json(server, "GET", "/api/ps", timeout=PROBE_SECONDS)
            # What answered meanwhile is loaded, although the server may have told before it was.
            answered = {tag: model for tag, model in memory.models.items() if model.seen_at >= began}
            memory.models = answered | resident_models(answer)
            memory.known = True
        except EndpointError as error:
            logger.debug("resident models not told server=%s error=%s", server.name, error)
        finally:
            memory.asked_at = time.monotonic()
            memory.asking = None

    def answered(self, replica: Replica) -> None:
        """Note that a replica's model answered, so it is loaded."""
        memory = self.memory(replica.server)
        if memory.known:
            resident = memory.models.setdefault(full_tag(replica.model), Resident())
            resident.window = replica.num_ctx or resident.window
            resident.seen_at = time.monotonic()

    def unloaded(self, replica: Replica) -> None:
        """Note that a replica's model was taken out of memory."""
        self.memory(replica.server).models.pop(full_tag(replica.model), None)

    async def load(self, replica: Replica) -> None:
        """Have ``replica``'s model loaded; requests that come meanwhile share the one load. Raises EndpointError.

        A client that leaves does not abort it, as others may wait; Ollama would abort it with the connection.
        """
        await asyncio.shield(self.begin_load(replica))

    def begin_load(self, replica: Replica) -> "asyncio.Task[None]":
        """Start a load, or return the one that is going on; nobody need wait for it."""
        key = _load_key(replica)
        task = self._loads.get(key)
        if task is None:
            task = self._loads[key] = asyncio.create_task(self._load(replica))
            task.add_done_callback(lambda done: self._load_ended(key, done))
        return task

    async def _load(self, replica: Replica) -> None:
        started = time.monotonic()
        try:
            await model_warm(
                replica.server,
                self._client,
                replica.model,
                replica.num_ctx,
                replica.keep_alive,
                capabilities=replica.capabilities,
                timeout=self._load_seconds,
            )
        except UpstreamTimedOut as error:
            raise UpstreamTimedOut(
                f"The model '{replica.model}' did not load on '{replica.server.name}' within {self._load_seconds:g} s. "
                "Try a smaller one; an administrator can raise UPSTREAM_LOAD_TIMEOUT.",
                code="model_load_timeout",
            ) from error
        seconds = time.monotonic() - started
        load_seconds.labels(*lane_key(replica)).observe(seconds)
        logger.info("model loaded replica=%s seconds=%.1f", replica.label, seconds)
        self.answered(replica)

    def _load_ended(self, key: tuple[str, str, int | None], task: "asyncio.Task[None]") -> None:
        del self._loads[key]
        if not task.cancelled():
            task.exception()  # those who wait have it; nobody may be waiting any more

    async def aclose(self) -> None:
        tasks = [*self._loads.values(), *(memory.asking for memory in self._servers.values() if memory.asking)]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _load_key(replica: Replica) -> tuple[str, str, int | None]:
    return replica.server.base_url, full_tag(replica.model), replica.num_ctx


def resident_models(answer: Any) -> dict[str, Resident]:
    """Return the models of an answer of GET /api/ps by full tag."""
    models = answer.get("models") if isinstance(answer, Mapping) else None
    return {
        full_tag(model.get("name") or model.get("model") or ""): Resident(window=model.get("context_length"))
        for model in models or ()
    }
