"""Looks after the models of Ollama servers: what is in memory, pulling, loading, unloading, deleting.

The async functions speak to a server and touch no database; below them are the steps that admin and commands share,
which do, and are not for coroutines.
"""

import asyncio
import logging
import re
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

from django.conf import settings
from django.db.models.functions import Lower
from django.template.defaultfilters import pluralize
from django.utils import timezone

from routing.backends import codec
from routing.backends.client import PROBE_SECONDS, Timeouts, UpstreamClient
from routing.backends.loading import full_tag, model_warm, require_ollama
from routing.backends.ollama import error_text
from routing.backends.protocol import Json, ServerAddress, ServerKind
from routing.discovery import servers_refresh
from routing.exceptions import BadRequest, EndpointError, UpstreamFailed
from routing.models import ModelServer, Replica
from routing.shelf import replicas_propose

logger = logging.getLogger(__name__)

# While it verifies a large model, Ollama is silent for minutes.
PULL_TIMEOUTS = Timeouts(connect=5.0, first_byte=120.0, idle=900.0)
PROBE_TIMEOUTS = Timeouts(connect=PROBE_SECONDS, first_byte=10.0)
# Ollama's "for ever" is a date some 290 years ahead.
FOR_EVER = timedelta(days=50 * 365)
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class ResidentModel:
    """A model in a server's memory; what the server does not tell is None."""

    name: str
    context_length: int | None = None
    size_bytes: int | None = None
    vram_bytes: int | None = None
    expires_at: datetime | None = None

    @property
    def vram_percent(self) -> int | None:
        if not self.size_bytes or self.vram_bytes is None:
            return None
        return min(100, round(100 * self.vram_bytes / self.size_bytes))

    @property
    def stays(self) -> bool:
        """Tell whether it is kept until somebody unloads it."""
        return self.expires_at is not None and self.expires_at > timezone.now() + FOR_EVER


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerState:
    """A server as it is now; ``reason`` says why it does not answer, and is empty when it does."""

    reason: str = ""
    version: str = ""
    resident: tuple[ResidentModel, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PullProgress:
    """How far a pull is: ``completed`` and ``total`` are bytes over all layers told so far."""

    status: str
    completed: int = 0
    total: int = 0

    @property
    def percent(self) -> int:
        return min(100, 100 * self.completed // self.total) if self.total else 0


class PullMeter:
    """Lines of POST /api/pull into progress; ``done`` once the last status was "success"."""

    def __init__(self, server: str, model: str) -> None:
        self._server = server
        self._model = model
        self._layers: dict[str, tuple[int, int]] = {}
        self.done = False

    def feed(self, line: bytes) -> PullProgress | None:
        """Return the progress after ``line``, None for an empty one; raises UpstreamFailed for an error."""
        if not line.strip():
            return None
        try:
            data = codec.loads(line)
        except ValueError:
            data = None
        if not isinstance(data, dict):
            raise UpstreamFailed(f"The model server '{self._server}' sent something that is no progress of a pull.")
        if data.get("error"):
            raise UpstreamFailed(self._failure(error_text(data["error"])))
        if digest := data.get("digest"):
            completed, total = self._layers.get(digest, (0, 0))
            # Both are absent when zero, and a line without them must not take back what was told.
            self._layers[digest] = (data.get("completed") or completed, data.get("total") or total)
        status = str(data.get("status") or "")
        self.done = status == "success"
        return PullProgress(
            status=status,
            completed=sum(completed for completed, _ in self._layers.values()),
            total=sum(total for _, total in self._layers.values()),
        )

    def _failure(self, text: str) -> str:
        advice = "Pulling again goes on where it stopped."
        if "file does not exist" in text or "invalid model name" in text:
            advice = "Check the name, for example at ollama.com/library."
        return f"The model server '{self._server}' could not pull '{self._model}': {text.rstrip('.')}. {advice}"


async def server_state(address: ServerAddress, client: UpstreamClient) -> ServerState:
    """Return how a server is now, without making it load anything; never raises EndpointError."""
    try:
        if address.kind is ServerKind.OPENAI:
            await client.request_json(address, "GET", "/v1/models", timeout=PROBE_SECONDS)
            return ServerState()
        version = await client.request_json(address, "GET", "/api/version", timeout=PROBE_SECONDS)
        told = version.get("version") if isinstance(version, dict) else None
        return ServerState(version=str(told or ""), resident=tuple(await models_resident(address, client)))
    except EndpointError as error:
        return ServerState(reason=error.message)


async def models_resident(address: ServerAddress, client: UpstreamClient) -> list[ResidentModel]:
    """Return what is in an Ollama server's memory, longest-lived first; raises EndpointError."""
    require_ollama(address)
    answer = await client.request_json(address, "GET", "/api/ps", timeout=PROBE_SECONDS)
    try:
        return [_resident(model) for model in answer.get("models") or ()]
    except (AttributeError, TypeError) as error:
        raise UpstreamFailed(f"The model server '{address.name}' does not answer as Ollama does.") from error


def _resident(told: Json) -> ResidentModel:
    return ResidentModel(
        name=told.get("name") or told.get("model") or "",
        context_length=told.get("context_length"),
        size_bytes=told.get("size"),
        vram_bytes=told.get("size_vram") or 0,
        expires_at=_moment(told.get("expires_at")),
    )


def _moment(text: Any) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return moment if moment.tzinfo else None


async def model_pull(address: ServerAddress, client: UpstreamClient, name: str) -> AsyncGenerator[PullProgress]:
    """Have a server download a model, and yield how far it is; raises EndpointError.

    It is there only when the generator ends by itself. Leaving early cancels the download; what arrived is kept.
    """
    require_ollama(address)
    meter = PullMeter(address.name, name)
    body = {"model": name, "stream": True}
    async with aclosing(client.stream_lines(address, "POST", "/api/pull", body, model=name)) as lines:
        async for line in lines:
            if progress := meter.feed(line):
                yield progress
    if not meter.done:
        raise UpstreamFailed(
            f"The model server '{address.name}' broke off while it pulled '{name}'. Pulling again goes on where it "
            "stopped."
        )


async def model_unload(address: ServerAddress, client: UpstreamClient, name: str) -> None:
    """Take a model out of memory; raises EndpointError. What it is answering just now is finished first."""
    require_ollama(address)
    body = {"model": name, "messages": [], "stream": False, "keep_alive": 0}
    await client.request_json(address, "POST", "/api/chat", body, timeout=client.timeouts.first_byte, model=name)


async def model_delete(address: ServerAddress, client: UpstreamClient, name: str) -> None:
    """Delete a model from a server's disk; raises EndpointError."""
    require_ollama(address)
    body = {"model": name}
    # Ollama answers with an empty body.
    async with aclosing(client.stream_lines(address, "DELETE", "/api/delete", body, model=name)) as lines:
        async for _ in lines:
            pass


# --- steps for synchronous callers, with the database ---------------------------------------------


def with_client(step: Callable[[UpstreamClient], Coroutine[Any, Any, T]], timeouts: Timeouts | None = None) -> T:
    """Run one step with a client and an event loop of its own; not for coroutines."""

    async def run() -> T:
        client = UpstreamClient(timeouts or work_timeouts())
        try:
            return await step(client)
        finally:
            await client.aclose()

    return asyncio.run(run())


def work_timeouts() -> Timeouts:
    """Return the limits for loading a model: those that a request would have."""
    return Timeouts(connect=settings.UPSTREAM_CONNECT_TIMEOUT, first_byte=settings.UPSTREAM_FIRST_BYTE_TIMEOUT)


def replicas_of(server: ModelServer, name: str) -> list[Replica]:
    """Return the replicas that run a model of ``server``, those in use first."""
    wanted = full_tag(name).lower()
    rows = server.replicas.annotate(tag=Lower("model")).filter(tag__in={wanted, wanted.removesuffix(":latest")})
    return list(
        rows.select_related("expert", "server").order_by("-enabled", "-expert__enabled", "expert__position", "pk")
    )


def server_warm(server: ModelServer, name: str) -> str:
    """Load a model as its first replica would, and return what was done in words; raises EndpointError."""
    replicas = replicas_of(server, name)
    installed = server.installed_models.filter(name__iexact=full_tag(name)).first()
    trained = installed.context_length if installed else None
    windows = [
        min(replica.num_ctx, trained) if replica.num_ctx and trained else replica.num_ctx for replica in replicas
    ]
    window = windows[0] if windows else None
    keep_alive = replicas[0].keep_alive if replicas else ""
    capabilities = installed.capabilities if installed else None
    with_client(
        lambda client: model_warm(server.address(), client, name, window, keep_alive, capabilities=capabilities)
    )
    done = f"Loaded {name} on {server}" + (f" with a window of {window} tokens." if window else ".")
    if len(set(windows)) > 1:
        told = ", ".join(sorted({str(size) if size else "the server's own" for size in windows}))
        done += f" Its replicas ask for different windows ({told}): Ollama loads it again at every change."
    return done


def server_unload(server: ModelServer, name: str) -> str:
    """Take a model out of a server's memory, and return what was done in words; raises EndpointError."""
    with_client(lambda client: model_unload(server.address(), client, name))
    return f"Unloaded {name} from {server}."


def server_delete(server: ModelServer, name: str) -> str:
    """Delete a model from a server, and return what was done in words; raises EndpointError."""
    with_client(lambda client: model_delete(server.address(), client, name), PULL_TIMEOUTS)
    server.installed_models.filter(name__iexact=full_tag(name)).delete()
    logger.info("model deleted server=%s model=%s", server.name, name)
    return f"Deleted {name} from {server}."


def server_refresh(server: ModelServer) -> str:
    """Ask ``server`` what is installed, and return what was found in words; raises EndpointError."""
    outcome = servers_refresh([server])[server]
    if isinstance(outcome, EndpointError):
        raise outcome
    return discovered(server, outcome)


def discovered(server: ModelServer, number: int) -> str:
    """Propose experts where none was proposed yet, and return how many models ``server`` has, in words."""
    made = replicas_propose(server)
    proposed = f"; {made} replica{pluralize(made)} proposed" if made else ""
    return f"{number} model{pluralize(number)} installed on {server}{proposed}."


def checked_name(text: str) -> str:
    """Return a model's name as it was typed, without space around it; raises BadRequest."""
    name = text.strip()
    if not re.fullmatch(r"[^\s\"'<>]{1,300}", name):
        raise BadRequest("Enter the name of one model, for example qwen3:8b.")
    return name
