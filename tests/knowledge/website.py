"""A web site on loopback that serves what it is given and remembers what it was asked."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from routing.backends.fetch import Allowed

LOOPBACK = Allowed.parse(["127.0.0.1"])

Answer = Callable[[web.BaseRequest], web.StreamResponse]


class Website:
    """``answers`` are by path, or by host and path for a host of one's own; ``asked`` has "host/path"."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.asked: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.port = 0

    @property
    def url(self) -> str:
        return self.at("a.test")

    def at(self, host: str) -> str:
        return f"http://{host}:{self.port}"

    def paths(self) -> list[str]:
        """Return what was asked for but robots.txt, without the hosts."""
        paths = ["/" + asked.partition("/")[2] for asked in self.asked]
        return [path for path in paths if path != "/robots.txt"]

    def put(self, path: str, body: str | bytes = "", *, status: int = 200, **headers: str) -> None:
        content = body.encode() if isinstance(body, str) else body
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.answers[path] = lambda _: web.Response(body=content, status=status, headers=named)

    def redirect(self, path: str, to: str) -> None:
        self.put(path, status=302, Location=to)

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        host = request.headers["Host"].partition(":")[0]
        self.asked.append(host + request.path_qs)
        self.headers.append(dict(request.headers))
        if request.path == "/slow":
            await asyncio.sleep(30)
        found = self.answers.get(host + request.path) or self.answers.get(request.path)
        return found(request) if found else web.Response(status=404)

    async def resolve(self, host: str) -> list[str]:
        """Find every name ending in .test here, and inside.test in a private network."""
        if host == "inside.test":
            return ["10.0.0.1"]
        if not host.endswith(".test"):
            raise OSError("unknown")
        return ["127.0.0.1"]


@asynccontextmanager
async def website() -> AsyncIterator[Website]:
    site = Website()
    runner = web.ServerRunner(web.Server(site.answer, handler_cancellation=True, access_log=None), shutdown_timeout=0.1)
    await runner.setup()
    tcp = web.TCPSite(runner, "127.0.0.1", 0)
    await tcp.start()
    site.port = runner.addresses[0][1]
    yield site
    await runner.cleanup()
