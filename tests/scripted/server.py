"""The server: a thread with its own event loop, one port, both surfaces."""

import asyncio
import ipaddress
import json
import socket
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import replace
from types import TracebackType
from typing import Any, Self, TypeVar

from aiohttp import web
from multidict import CIMultiDict, CIMultiDictProxy

from . import gojson, listing, llamacpp, ollama, registry
from .exchange import Exchange, Refusal, forever, play, raw, whole
from .model import Residency, ScriptedModel, Shelf, tagged
from .recorded import Recorded
from .reply import Reply
from .script import TALKING, Handler, Line, Script

T = TypeVar("T")

NATIVE: Mapping[str, Mapping[str, Handler]] = {**listing.ROUTES, **ollama.ROUTES, **registry.ROUTES}
OPENAI: Mapping[str, Mapping[str, Handler]] = llamacpp.ROUTES
# These take their reply themselves, once they know the request to be sound.
_SCRIPTED = TALKING | {"/api/embed", "/v1/embeddings", "/api/pull"}
_OPEN_TO_ALL = frozenset({"/", "/health"})
_LOCAL_NAMES = (".localhost", ".local", ".internal")


class ScriptedServer:
    """A model server on loopback that says what it is told to, over real HTTP.

    Everything may be called from any thread. What waits blocks its thread: an async test goes through
    `asyncio.to_thread`.
    """

    def __init__(
        self,
        models: Iterable[ScriptedModel | str] = ("llama3.2:3b",),
        *,
        num_ctx: int = 4096,
        version: str = "0.32.5",
        require_key: str | None = None,
        default_reply: "Reply | Callable[[Recorded], Reply] | None" = None,
    ) -> None:
        shelf = [ScriptedModel(name=model) if isinstance(model, str) else model for model in models]
        self.require_key = require_key
        self.requests: list[Recorded] = []
        self._shelf = Shelf(shelf, num_ctx=num_ctx, version=version)
        self._script = Script(default_reply)
        self._first_default = self._script.default
        self._arrival = threading.Condition()
        self._port = 0
        self._stopping = False
        self._busy: set[object] = set()
        self._reserved: socket.socket | None = None
        self._listener: asyncio.Server | None = None
        self._http: web.Server | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # Where it is.

    @property
    def port(self) -> int:
        return self._port

    @property
    def url(self) -> str:
        """The base of the native API."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def base_url_v1(self) -> str:
        """The base that an OpenAI client takes."""
        return f"{self.url}/v1"

    # What it has and what it says.

    @property
    def models(self) -> list[ScriptedModel]:
        """The models it has; tests may change the list."""
        return self._shelf.models

    @property
    def loaded(self) -> dict[str, Residency]:
        """What is in memory, by model name, for `/api/ps`: put there by running a model, or by a test."""
        return self._shelf.loaded

    @property
    def load_delay(self) -> float:
        """Seconds a request that only loads a model takes, while it is not in memory."""
        return self._shelf.load_delay

    @load_delay.setter
    def load_delay(self, seconds: float) -> None:
        self._shelf.load_delay = seconds

    def offer(self, *models: ScriptedModel) -> None:
        """Put models into the registry that `/api/pull` gets them from, in place of those offered before."""
        self._shelf.registry = {tagged(model.name).lower(): model for model in models}
        self._shelf.pulls.clear()

    @property
    def default_reply(self) -> "Reply | Callable[[Recorded], Reply]":
        """What is said when no scripted reply fits: a reply, or a function of the request."""
        return self._script.default

    @default_reply.setter
    def default_reply(self, reply: "Reply | Callable[[Recorded], Reply]") -> None:
        self._script.default = reply

    def reply(self, reply: Reply, *, path: str | None = None, model: str | None = None, times: int | None = 1) -> None:
        """Queue a reply for the next request that fits, or for so many of them (None: for all).

        Without a path it is for chat, generate and completions of either surface. With one it is for any
        method of that path, even one the server does not know.
        """
        self._script.add(Line(reply=reply, path=path, model=model, times=times))

    @property
    def pending(self) -> list[Reply]:
        """The queued replies that no request has used up."""
        return self._script.pending()

    # What it saw.

    def requests_to(self, path: str) -> list[Recorded]:
        return [request for request in list(self.requests) if request.path == path]

    def work_at(self, path: str) -> list[Recorded]:
        """List the requests to a path that give a model work, without those that only load or unload it.

        A gateway may have a model loaded whenever what it knows of a server's memory is old, so that whoever counts
        its own requests must not count loads.
        """
        return [request for request in self.requests_to(path) if not request.idle]

    def wait_for_request(self, path: str | None = None, timeout: float = 20.0, *, count: int = 1) -> Recorded:
        """Wait for the nth request since the start, or since `clear`, to a path or to any.

        Raises TimeoutError.
        """
        return self._wait(lambda: self.requests_to(path) if path else self.requests, path, timeout, count)

    def wait_for_work(self, path: str, timeout: float = 20.0, *, count: int = 1) -> Recorded:
        """Wait for the nth request to a path that gives a model work; raises TimeoutError."""
        return self._wait(lambda: self.work_at(path), path, timeout, count)

    def _wait(self, arrived: Callable[[], list[Recorded]], path: str | None, timeout: float, count: int) -> Recorded:
        with self._arrival:
            if not self._arrival.wait_for(lambda: len(arrived()) >= count, timeout):
                seen = [request.path for request in self.requests]
                raise TimeoutError(f"no request {count} to {path or 'any path'} in {timeout} s; saw {seen}")
            return arrived()[count - 1]

    def clear(self) -> None:
        """Forget requests, replies, what is loaded and what is offered, and say again what it said at first."""
        with self._arrival:
            self.requests.clear()
        self._script.clear()
        self._script.default = self._first_default
        self._shelf.loaded.clear()
        self._shelf.load_delay = 0.0
        self.offer()

    # Whether it runs.

    def start(self) -> Self:
        """Start the thread, and listen."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="scripted-server", daemon=True)
        self._thread.start()
        self._run(self._listen())
        return self

    def refuse(self) -> None:
        """Refuse new connections and close idle ones; running answers go on to their end."""
        self._run(self._refuse())

    def stop(self) -> None:
        """Break off everything, as a server that is killed; the port stays this server's."""
        self._run(self._stop())

    def restart(self) -> None:
        """Listen again, on the same port, with nothing in memory; what runs is broken off."""
        self._run(self._stop())
        self._shelf.loaded.clear()
        self._run(self._listen())

    def close(self) -> None:
        """Stop for good, and end the thread."""
        if self._loop is None or self._thread is None:
            return
        self._run(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(60)
        self._loop.close()
        self._loop = self._thread = None
        if self._reserved:
            self._reserved.close()
            self._reserved = None

    def _run(self, steps: Coroutine[Any, Any, T]) -> T:
        if self._loop is None:
            steps.close()
            raise RuntimeError("the scripted server is not started")
        return asyncio.run_coroutine_threadsafe(steps, self._loop).result(60)

    async def _listen(self) -> None:
        if self._listener is not None:
            return
        if self._http is None:
            self._http = web.Server(
                self._handle, handler_cancellation=True, access_log=None, request_factory=self._request
            )
        # A second socket that is bound but does not listen keeps the port while the server is stopped: else
        # another process may be given it. Only Linux is known to let both be bound.
        if self._reserved is None and sys.platform == "linux":
            self._reserved = _bound(0)
            self._port = self._reserved.getsockname()[1]
        listening = _bound(self._port)
        self._port = listening.getsockname()[1]
        self._listener = await asyncio.get_running_loop().create_server(self._http, sock=listening)

    async def _refuse(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        for connection in self._http.connections if self._http else ():
            if connection not in self._busy:
                connection.force_close()

    async def _stop(self) -> None:
        self._stopping = True
        try:
            await self._refuse()
            for _ in range(2):  # what was just being accepted is a connection by the second time
                for connection in self._http.connections if self._http else ():
                    if connection.transport is not None:
                        connection.transport.abort()
                others = asyncio.all_tasks() - {asyncio.current_task()}
                if others:
                    await asyncio.wait(others, timeout=20)
                await asyncio.sleep(0)
        finally:
            self._stopping = False

    def _request(self, message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> web.BaseRequest:
        """Make a request whose body may have any size: images and long histories are tested too."""
        loop = asyncio.get_running_loop()
        return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=0)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        recorded = Recorded(
            method=request.method,
            path=request.path,
            query=request.query_string,
            headers=CIMultiDictProxy(CIMultiDict(request.headers)),
        )
        self._busy.add(request.protocol)
        try:
            recorded.body = await request.read()
            recorded.json = _json(recorded.body)
            self._note(recorded)
            keep_alive = self._listener is not None
            return await play(request, self._answer(recorded), recorded, keep_alive=keep_alive)
        except asyncio.CancelledError:
            recorded.finish(disconnected=not self._stopping)
            raise
        except ConnectionError:
            recorded.finish(disconnected=not self._stopping)
            await forever()  # aiohttp is about to cancel this; an exception it would log as a server error
            raise
        finally:
            self._busy.discard(request.protocol)
            recorded.finish()

    def _note(self, recorded: Recorded) -> None:
        with self._arrival:
            recorded.received_at = time.monotonic()
            self.requests.append(recorded)
            self._arrival.notify_all()

    def _answer(self, recorded: Recorded) -> Exchange:
        """Find the answer, in the shape of the surface that the path belongs to."""
        try:
            self._admit(recorded)
            if recorded.path in _SCRIPTED and recorded.method == "POST":
                return _route(recorded)(self._shelf, self._script, recorded)
            model = recorded.json.get("model") if isinstance(recorded.json, dict) else None
            reply = self._script.take(recorded.path, model)
            if reply is None:
                return _route(recorded)(self._shelf, self._script, recorded)
            if reply.is_raw:
                return raw(reply, _error(recorded.path, reply.status, reply.error))
            return replace(_route(recorded)(self._shelf, self._script, recorded), reply=reply)
        except Refusal as refusal:
            return whole(refusal.body, status=refusal.status, content_type=refusal.content_type)

    def _admit(self, recorded: Recorded) -> None:
        """Refuse a foreign host on the native API, and a request without the key."""
        path, headers = recorded.path, recorded.headers
        if path in NATIVE and not _is_local(headers.get("Host", "")):
            # allowedHostsMiddleware in Ollama server/routes.go: no body at all.
            raise Refusal(403, b"")
        if self.require_key is None or path in _OPEN_TO_ALL:
            return
        if headers.get("Authorization") != f"Bearer {self.require_key}":
            if path in NATIVE:
                gojson.refuse("unauthorized", 401, signin_url="https://ollama.com/connect?name=scripted")
            llamacpp.refuse(401, "Invalid API Key")


def _bound(port: int) -> socket.socket:
    """Bind a socket of loopback; a restart must not wait for connections in TIME_WAIT."""
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind(("127.0.0.1", port))
    return bound


def _route(recorded: Recorded) -> Handler:
    methods = NATIVE.get(recorded.path) or OPENAI.get(recorded.path)
    if methods and recorded.method in methods:
        return methods[recorded.method]
    if recorded.path in NATIVE:
        raise Refusal(405, b"405 method not allowed", "text/plain")
    if recorded.path.startswith("/api/"):
        raise Refusal(404, b"404 page not found", "text/plain")
    raise Refusal(404, llamacpp.dump(llamacpp.error(404, "File Not Found")))


def _error(path: str, status: int, message: str) -> bytes:
    """Write an error in the shape of the surface that a path belongs to."""
    if path == "/" or path.startswith("/api/"):
        return gojson.dump({"error": message})
    return llamacpp.dump(llamacpp.error(status, message))


def _is_local(host: str) -> bool:
    """Tell whether an Ollama that listens on loopback accepts a Host header."""
    name = host.rsplit(":", 1)[0].strip("[]").lower()
    if name in ("", "localhost", socket.gethostname().lower()) or name.endswith(_LOCAL_NAMES):
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    return address.is_loopback or address.is_private or address.is_unspecified


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None
