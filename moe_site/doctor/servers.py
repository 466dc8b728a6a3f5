"""The model servers: whether they answer, take their key, and have what replicas run."""

import asyncio
import email.utils
import http.client
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from django.conf import settings

from moe_site.doctor.clock import compared
from moe_site.doctor.finding import Finding, Probe, error, ok, warning
from routing.backends.client import Timeouts, UpstreamClient
from routing.backends.protocol import ServerAddress, ServerKind
from routing.discovery import FoundModel, models_find
from routing.exceptions import EndpointError, ModelNotInstalled, Unreachable
from routing.modelcare import ServerState, server_state
from routing.models import ModelServer, Replica, normalise_base_url

CONNECT_SECONDS = 4.0
UNREACHABLE = (
    "Is it running there (ollama serve), and does it listen to other machines (OLLAMA_HOST=0.0.0.0)? "
    "Check the address, and firewalls on the way: curl {url}/api/version"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What an enabled replica runs; ``num_ctx`` is None where the server decides."""

    label: str
    model: str
    num_ctx: int | None = None


def probes(*, with_database: bool) -> list[Probe]:
    """Return a look at each enabled server; without a database those of OLLAMA_BASE_URL."""
    if with_database:
        servers = [(server.address(), _wanted(server)) for server in ModelServer.objects.filter(enabled=True)]
    else:
        servers = [(_configured(url), []) for url in settings.OLLAMA_BASE_URL]
    return [_probe(address, wanted) for address, wanted in servers]


def _configured(url: str) -> ServerAddress:
    address = normalise_base_url(url)
    return ServerAddress(
        name=urlsplit(url).hostname or url, kind=ServerKind.OLLAMA, base_url=address, api_key=settings.OLLAMA_API_KEY
    )


def _wanted(server: ModelServer) -> list[Wanted]:
    replicas = Replica.objects.filter(server=server, enabled=True, expert__enabled=True).select_related(
        "expert", "server"
    )
    return [Wanted(label=str(replica.expert), model=replica.model, num_ctx=replica.num_ctx) for replica in replicas]


def _probe(address: ServerAddress, wanted: Sequence[Wanted]) -> Probe:
    about = f"model server {address.name}"
    return Probe(about=about, look=lambda: look(about, address, wanted), seconds=25.0)


def look(about: str, address: ServerAddress, wanted: Sequence[Wanted]) -> Iterator[Finding]:
    """Ask a server for its version, its models and its time."""
    began = time.monotonic()
    try:
        state, models = asyncio.run(_asked(address))
    except ModelNotInstalled:  # which is what status 404 means where a model is asked for
        yield error(about, f"What answers at {address.base_url} is no {address.kind} server.", "Correct its base URL.")
        return
    except EndpointError as problem:
        advice = UNREACHABLE.format(url=address.base_url) if isinstance(problem, Unreachable) else _advice(problem)
        yield error(about, problem.message, advice)
        return
    took = time.monotonic() - began
    version = f"Ollama {state.version}" if state.version else "It"
    yield ok(about, f"{version} answers; {len(models)} models are installed ({took * 1000:.0f} ms for the list).")
    yield from _compared(about, models, wanted)
    if (its := _date(address)) is not None:
        yield from compared(about, its, precision=1.0)


async def _asked(address: ServerAddress) -> tuple[ServerState, list[FoundModel]]:
    client = UpstreamClient(Timeouts(connect=CONNECT_SECONDS, first_byte=CONNECT_SECONDS))
    try:
        models = await models_find(address, client)
        return await server_state(address, client), models
    finally:
        await client.aclose()


def _advice(problem: EndpointError) -> str:
    if "credentials" in problem.message:
        return "Enter its key in the admin (Model servers); OLLAMA_API_KEY is used only when a server is first seen."
    return "Look into the log of the model server."


def _compared(about: str, models: Sequence[FoundModel], wanted: Sequence[Wanted]) -> Iterator[Finding]:
    there = {_tag(model.name): model for model in models}
    for one in wanted:
        model = there.get(_tag(one.model))
        if model is None:
            yield error(
                about,
                f"The expert {one.label} needs {one.model}, which is not installed.",
                f"Pull it (ollama pull {one.model}, or manage.py models), or disable that replica.",
            )
        elif one.num_ctx and model.context_length and one.num_ctx > model.context_length:
            yield warning(
                about,
                f"The expert {one.label} asks {one.model} for {one.num_ctx} tokens of context; it was trained for "
                f"{model.context_length}.",
                "Lower the context window of that replica in the admin.",
            )


def _tag(name: str) -> str:
    return name.removesuffix(":latest").lower()


def _date(address: ServerAddress) -> float | None:
    """Return the time a server tells in its Date header, or None where it tells none."""
    parts = urlsplit(address.base_url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    asking = kind(parts.hostname or "", parts.port, timeout=CONNECT_SECONDS)
    try:
        asking.request("GET", f"{parts.path}/")
        told = asking.getresponse().headers.get("Date", "")
        return email.utils.parsedate_to_datetime(told).timestamp() if told else None
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        asking.close()
