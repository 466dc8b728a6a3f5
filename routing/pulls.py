"""Downloads of models that run in the background of this process, and those that ended a while ago.

A pull lives in a thread of its own, since it takes minutes and nobody waits for it. It ends with its process; Ollama
keeps what arrived, and pulling again goes on from there.
"""

import asyncio
import logging
import threading
import time
from contextlib import aclosing
from enum import StrEnum

from django.db import connections

from routing.backends.client import UpstreamClient
from routing.backends.loading import full_tag, require_ollama
from routing.exceptions import BadRequest, EndpointError
from routing.modelcare import PULL_TIMEOUTS, PullProgress, model_pull, server_refresh, with_client
from routing.models import ModelServer

logger = logging.getLogger(__name__)

SHOWN_SECONDS = 900.0


class PullState(StrEnum):
    RUNNING = "running"
    DONE = "done"
    CANCELLED = "cancelled"
    FAILED = "failed"


class Pull:
    """One download; its attributes may be read from any thread."""

    def __init__(self, server: ModelServer, model: str) -> None:
        self.server = server
        self.model = model
        self.state = PullState.RUNNING
        self.progress = PullProgress(status="starting")
        self.message = ""
        self.ended_at: float | None = None
        self._lock = threading.Lock()
        self._cancelled = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._thread = threading.Thread(target=self._run, name=f"pull {model}", daemon=True)

    @property
    def running(self) -> bool:
        return self.state is PullState.RUNNING

    def start(self) -> None:
        self._thread.start()

    def join(self, seconds: float) -> None:
        self._thread.join(seconds)

    def cancel(self) -> None:
        """Break the download off; what arrived is kept by the server."""
        with self._lock:
            self._cancelled = True
            if self._loop and self._task and not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._task.cancel)

    def _run(self) -> None:
        state, message = PullState.FAILED, "It failed unexpectedly; the log says more."
        try:
            with_client(self._pull, PULL_TIMEOUTS)
            state, message = PullState.DONE, _listed(self.server)
        except asyncio.CancelledError:
            state, message = PullState.CANCELLED, "Cancelled. Pulling it again goes on where it stopped."
        except EndpointError as error:
            message = error.message
        except Exception:
            logger.exception("pull failed server=%s model=%s", self.server.name, self.model)
        finally:
            self.message, self.ended_at = message, time.monotonic()
            self.state = state
            logger.info("pull ended server=%s model=%s state=%s", self.server.name, self.model, state)
            connections.close_all()

    async def _pull(self, client: UpstreamClient) -> None:
        with self._lock:
            if self._cancelled:
                raise asyncio.CancelledError
            self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        try:
            async with aclosing(model_pull(self.server.address(), client, self.model)) as steps:
                async for progress in steps:
                    self.progress = progress
        finally:
            with self._lock:
                self._loop = self._task = None


def _listed(server: ModelServer) -> str:
    try:
        return f"Pulled. {server_refresh(server)}"
    except EndpointError as error:
        return f"Pulled, but not listed yet: {error.message}"


_pulls: dict[tuple[int, str], Pull] = {}
_lock = threading.Lock()


def pull_start(server: ModelServer, model: str) -> Pull:
    """Start a download in the background; raises BadRequest, also while the same one runs."""
    require_ollama(server.address())
    key = server.pk, full_tag(model).lower()
    with _lock:
        if (earlier := _pulls.get(key)) and earlier.running:
            raise BadRequest(f"A pull of {model} to {server} runs already.")
        pull = _pulls[key] = Pull(server, model)
        pull.start()
    return pull


def pull_cancel(server: ModelServer, model: str) -> None:
    """Break a running download off; raises BadRequest if there is none."""
    pull = _pulls.get((server.pk, full_tag(model).lower()))
    if pull is None or not pull.running:
        raise BadRequest(f"No pull of {model} to {server} runs in this process.")
    pull.cancel()


def pulls_of(server: ModelServer) -> list[Pull]:
    """Return the downloads to ``server``: those that run, and those that ended lately."""
    now = time.monotonic()
    with _lock:
        for key, pull in list(_pulls.items()):
            if pull.ended_at is not None and now - pull.ended_at > SHOWN_SECONDS:
                del _pulls[key]
        return [pull for (pk, _), pull in _pulls.items() if pk == server.pk]
