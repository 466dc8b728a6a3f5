"""Ollama's native API, so that clients that speak nothing else get routing, keys and accounts too."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import aclosing
from typing import Any, ClassVar

from channels.db import database_sync_to_async

from gateway import listing
from gateway.auth import Caller
from gateway.cited import Cited
from gateway.completions import Routed, complete
from gateway.doors import Door
from gateway.embeddings import EmbeddingRequest
from gateway.errors import error_headers
from gateway.misdirected import nothing_at
from gateway.nativeanswer import HEADERS, VERSION, LineWriter, embed_answer
from gateway.nativerequest import (
    LATEST,
    Asked,
    Load,
    model_name,
    parse_embed,
    parse_generate,
    parse_native_chat,
    parse_old_embeddings,
    read,
)
from gateway.offer import Offer
from gateway.policy import ANY_SCOPE, Needs, Scope
from gateway.surfaces import Embedding
from gateway.textcompletions import complete_text
from routing.backends import codec
from routing.backends.embeddings import Embeddings
from routing.backends.generation import TextRequest
from routing.backends.ollama import keep_alive_value
from routing.backends.protocol import ChatRequest, Delta, Finish, Json, ServerAddress, ServerKind
from routing.catalog import Catalog, Expert, Replica, catalog
from routing.decision import Decision
from routing.exceptions import EndpointError, ModelNotFound
from routing.features import Asker
from routing.modelcare import model_unload
from routing.models import InstalledModel
from routing.named import explicit
from routing.pool import shared_pool
from routing.trial import Attempt

logger = logging.getLogger(__name__)

PROBE_SECONDS = 3.0


class NativeDoor(Door):
    """Errors are ``{"error": "text"}``, before the answer with a status and in the middle of it as a line."""

    needs: ClassVar[Needs] = Scope.CHAT

    async def handle(self, body: bytes) -> None:
        await self.answer(body, await self.caller())

    async def answer(self, body: bytes, caller: Caller) -> None:
        raise NotImplementedError

    async def send_error(self, error: EndpointError) -> None:
        value = {"error": error.message}
        if self.response_started:
            await self.send_body(codec.dumps(value) + b"\n")
        else:
            await self.send_json(value, status=error.status, headers=error_headers(error))


class Talking(NativeDoor):
    """What chat and generate have in common."""

    chat: ClassVar[bool]

    async def converse(self, asked: Asked, caller: Caller, known: Catalog) -> None:
        writer = LineWriter(asked.model, chat=self.chat)
        if isinstance(asked.request, Load):
            reason = await self._load(asked.request, caller, known)
            await self.send_json(writer.idle(reason))
            return
        asker = self.asker(caller)
        async with aclosing(_events(asked.request, caller, asker, self.request_id, self.site)) as events:
            async for event in events:
                if isinstance(event, Routed):
                    self.routed(event)
                elif asked.stream:
                    await self._write(writer.write(event))
                else:
                    writer.add(event)
        if asked.stream:
            await self.send_body(b"")
            return
        if writer.adjusted:
            self.extra_headers["X-MoE-Adjusted"] = ",".join(writer.adjusted)
        await self.send_json(writer.whole())

    async def _write(self, lines: Iterable[Json]) -> None:
        data = b"".join(codec.dumps(line) + b"\n" for line in lines)
        if not data:
            return
        if not self.response_started:
            await self.start(200, HEADERS)
        await self.send_body(data, more_body=True)

    async def _load(self, request: Load, caller: Caller, known: Catalog) -> str:
        """Load or unload an installed model where it is; profiles and experts have none of their own to load."""
        Offer(caller=caller, known=known).check_chat(request.model)
        if request.model in known.profiles or request.model in known.experts:
            return request.reason
        if request.reason == "unload" and (model := known.find(request.model) or known.find_embedder(request.model)):
            await _unload(model)
            return request.reason
        await self.check_budgets()
        decision = explicit(ChatRequest(model=request.model, messages=()), known)
        async with aclosing(_loading(decision, request, caller)) as events:
            async for event in events:
                if isinstance(event, Attempt):
                    self.extra_headers = {"X-MoE-Replica": event.replica.label}
        return request.reason


class NativeChat(Talking):
    """POST /api/chat"""

    chat = True
    what = "completion"

    async def answer(self, body: bytes, caller: Caller) -> None:
        known = await catalog.aget()
        await self.converse(parse_native_chat(read(body), _knows(known, caller)), caller, known)


class NativeGenerate(Talking):
    """POST /api/generate"""

    chat = False
    what = "text completion"

    async def answer(self, body: bytes, caller: Caller) -> None:
        known = await catalog.aget()
        await self.converse(parse_generate(read(body), _knows(known, caller)), caller, known)


class NativeEmbed(NativeDoor, Embedding):
    """POST /api/embed"""

    needs = Scope.EMBEDDINGS

    async def answer(self, body: bytes, caller: Caller) -> None:
        started = time.perf_counter_ns()
        data = read(body)
        found = await self.vectors(parse_embed(data, _knows(await catalog.aget(), caller)), caller)
        spent = time.perf_counter_ns() - started
        await self.send_json(embed_answer(model_name(data), found, spent))

    async def vectors(self, request: EmbeddingRequest, caller: Caller) -> Embeddings:
        return await self.embedded(request, caller) if request.texts else Embeddings(vectors=())


class NativeEmbeddings(NativeEmbed):
    """POST /api/embeddings, the older way"""

    async def answer(self, body: bytes, caller: Caller) -> None:
        request = parse_old_embeddings(read(body), _knows(await catalog.aget(), caller))
        found = await self.vectors(request, caller)
        await self.send_json({"embedding": list(found.vectors[0]) if found.vectors else []})


class NativeTags(NativeDoor):
    """GET /api/tags"""

    needs = ANY_SCOPE
    methods = ("GET", "HEAD")

    async def answer(self, body: bytes, caller: Caller) -> None:
        await self.send_json({"models": [listing.listed(entry) for entry in await _shelf(caller)]})


class NativeShow(NativeDoor):
    """POST /api/show"""

    needs = ANY_SCOPE

    async def answer(self, body: bytes, caller: Caller) -> None:
        name = model_name(read(body))
        found = {entry.name: entry for entry in await _shelf(caller)}
        for spelling in (name, f"{name}{LATEST}", name.removesuffix(LATEST)):
            if spelling in found:
                await self.send_json(listing.shown(found[spelling]))
                return
        raise ModelNotFound(f"model '{name}' not found", param="model")


class NativePs(NativeDoor):
    """GET /api/ps"""

    needs = ANY_SCOPE
    methods = ("GET", "HEAD")

    async def answer(self, body: bytes, caller: Caller) -> None:
        known = await catalog.aget()
        offer = Offer(caller=caller, known=known)
        everything = dict(known.models) | dict(known.embedders)
        installed = {tag: model for tag, model in everything.items() if offer.shows(tag)}
        servers = {replica.server for model in installed.values() for replica in model.replicas}
        native = sorted((one for one in servers if one.kind is ServerKind.OLLAMA), key=lambda one: one.name)
        answers = await asyncio.gather(*map(_in_memory, native))
        await self.send_json({"models": listing.resident(answers, installed)})


class NativeVersion(NativeDoor):
    """GET /api/version"""

    needs = ANY_SCOPE
    methods = ("GET", "HEAD")

    async def answer(self, body: bytes, caller: Caller) -> None:
        await self.send_json({"version": VERSION})


class Administration(NativeDoor):
    """What changes which models there are: pull, push, create, copy, delete, blobs."""

    needs = ANY_SCOPE
    methods = ("POST", "DELETE", "HEAD", "GET", "PUT")

    async def answer(self, body: bytes, caller: Caller) -> None:
        raise DoneInAdmin(
            "Models are pulled, created, copied and deleted by an administrator, in admin or on the model servers "
            "themselves; this endpoint does not do it for clients."
        )


class DoneInAdmin(EndpointError):
    status = 501
    type = "invalid_request_error"
    code = "not_implemented"


class Unknown(NativeDoor):
    """Any other path under /api/"""

    needs = ANY_SCOPE
    methods = Administration.methods

    async def answer(self, body: bytes, caller: Caller) -> None:
        raise nothing_at(self.scope["method"], self.scope["path"])


class Alive(NativeDoor):
    """HEAD /, by which Ollama's clients see that a server is there; without a key, as it tells nothing else"""

    methods = ("HEAD",)

    async def handle(self, body: bytes) -> None:
        await self.start(200, {"Content-Type": "text/plain; charset=utf-8"})
        await self.send_body(b"")


async def _events(
    request: ChatRequest | TextRequest, caller: Caller, asker: Asker, request_id: str, site: str
) -> AsyncGenerator[Routed | Delta | Cited | Finish]:
    """Yield what either use case yields; what an answer has beside its text has no place in native lines."""
    if isinstance(request, TextRequest):
        source: AsyncGenerator[Any] = complete_text(request, caller=caller, asker=asker, request_id=request_id)
    else:
        source = complete(request, caller=caller, asker=asker, request_id=request_id, site=site)
    async with aclosing(source) as events:
        async for event in events:
            if isinstance(event, Routed | Delta | Cited | Finish):
                yield event


async def _loading(decision: Decision, request: Load, caller: Caller) -> AsyncGenerator[Attempt | Any]:
    """Yield an Attempt for each replica that is asked to load its model; only Ollama has a way to."""

    async def start(replica: Replica) -> AsyncGenerator[Any]:
        if replica.server.kind is not ServerKind.OLLAMA:
            yield None  # it holds its model as long as it runs
            return
        body: dict[str, Any] = {"model": replica.model, "stream": False}
        keep_alive = replica.keep_alive if request.keep_alive is None else request.keep_alive
        body |= {} if keep_alive is None else {"keep_alive": keep_alive_value(keep_alive)}
        body |= {"options": {"num_ctx": replica.num_ctx}} if replica.num_ctx else {}
        client = shared_pool().client
        seconds = client.timeouts.first_byte
        yield await client.request_json(
            replica.server, "POST", "/api/generate", body, timeout=seconds, model=replica.model
        )

    async with aclosing(shared_pool().run(decision, start, tenant=caller.tenant, weight=caller.weight)) as events:
        async for event in events:
            yield event


async def _unload(model: Expert) -> None:
    """Take a model out of the memory of every server that may hold it; raises EndpointError.

    Not by way of the pool, which would have it loaded first.
    """
    pool = shared_pool()

    async def unload(replica: Replica) -> None:
        await model_unload(replica.server, pool.client, replica.model)
        pool.residency.unloaded(replica)

    native = [replica for replica in model.replicas if replica.server.kind is ServerKind.OLLAMA]
    results = await asyncio.gather(*map(unload, native), return_exceptions=True)
    if failed := next((result for result in results if isinstance(result, BaseException)), None):
        raise failed


async def _in_memory(server: ServerAddress) -> Any:
    """Return a server's answer to GET /api/ps, or None: what cannot be asked holds nothing that could be used."""
    try:
        return await shared_pool().client.request_json(server, "GET", "/api/ps", timeout=PROBE_SECONDS)
    except EndpointError as error:
        logger.warning("cannot tell what is in memory server=%s error=%s", server.name, error)
        return None


async def _shelf(caller: Caller) -> list[listing.Entry]:
    facts = await database_sync_to_async(_facts, thread_sensitive=False)()
    offer = Offer(caller=caller, known=await catalog.aget())
    return [entry for entry in listing.entries(offer.known, facts) if offer.shows(entry.name)]


def _facts() -> Mapping[str, listing.Facts]:
    return {
        model.name: listing.Facts(
            family=model.family,
            parameter_size=model.parameter_size,
            quantization=model.quantization,
            size=model.size_bytes or 0,
            digest=model.digest,
            seen_at=model.seen_at,
        )
        for model in InstalledModel.objects.filter(server__enabled=True)
    }


def _knows(known: Catalog, caller: Caller) -> Callable[[str], bool]:
    return Offer(caller=caller, known=known).exists
