"""The one HTTP client to all model servers: connections, timeouts, and errors in our own words.

httpx on aiohttp's transport (measured here on daphne: 240 forwarded requests a second on httpx's own
transport, 1,500 on this one).
"""

import asyncio
import logging
import ssl
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any, cast

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from routing.backends import codec, embeddings, generation, ollama, openai
from routing.backends.protocol import ChatCall, ChatEvent, Finish, ServerAddress, ServerKind
from routing.backends.refusal import refusal
from routing.exceptions import EndpointError, Unreachable, UpstreamFailed, UpstreamTimedOut
from routing.tracing import NOBODYS, Span, stage

logger = logging.getLogger(__name__)

TRANSLATORS: Mapping[ServerKind, ModuleType] = {ServerKind.OLLAMA: ollama, ServerKind.OPENAI: openai}
CHAT_PATHS: Mapping[ServerKind, str] = {
    ServerKind.OLLAMA: "/api/chat",
    ServerKind.OPENAI: "/v1/chat/completions",
}

# Below llama.cpp's five seconds, so that we seldom pick a connection its server is just closing.
KEEPALIVE_SECONDS = 4.0
RETRY_AFTER_SECONDS = 5.0
HEADERS = {"User-Agent": "moe-ollama-endpoint", "Accept": "*/*", "Accept-Encoding": "identity"}
PROBE_SECONDS = 3.0
ERROR_BODY_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Seconds: to connect; until the first piece of an answer, a model's load included; between two pieces."""

    connect: float = 5.0
    first_byte: float = 300.0
    idle: float = 120.0


class UpstreamClient:
    """A pooled client; belongs to the event loop it is first used on, and is closed there with ``aclose``."""

    def __init__(self, timeouts: Timeouts | None = None) -> None:
        self.timeouts = timeouts or Timeouts()
        # httpx's transport without its AsyncClient: redirects, cookies, authentication and proxies from the environment
        # are nothing we want towards a model server, and looking for them takes time on every request.
        # An empty context, as the transport reads certificates for one of its own (30 ms) and asks the session's.
        self._transport = AiohttpTransport(client=_session, verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
        self._urls: dict[str, httpx.URL] = {}
        self._extensions = {"timeout": httpx.Timeout(None, connect=self.timeouts.connect).as_dict()}

    async def aclose(self) -> None:
        await self._transport.aclose()

    async def chat(self, server: ServerAddress, call: ChatCall) -> AsyncGenerator[ChatEvent]:
        """Run ``call`` on ``server`` and yield its events, the last of them a Finish.

        Leaving the generator early closes the connection, which is what stops the generation (Ollama and
        llama.cpp watch for it). Raises EndpointError.
        """
        translator = TRANSLATORS[server.kind]
        stream = translator.ChatStream(new_id=new_tool_call_id)
        payload = codec.dumps(translator.chat_payload(call))
        with _generating(server, "chat", call.model) as span:
            source = self._stream(server, CHAT_PATHS[server.kind], payload, stream, call.model, span=span)
            async with aclosing(source) as events:
                async for event in events:
                    yield event

    async def generate(self, server: ServerAddress, call: generation.TextCall) -> AsyncGenerator[ChatEvent]:
        """Run a text completion on ``server``; all else is as with ``chat``."""
        stream = generation.stream(server.kind)
        payload = codec.dumps(generation.payload(server.kind, call))
        path, model = generation.PATHS[server.kind], call.chat.model
        with _generating(server, "text_completion", model) as span:
            source = self._stream(server, path, payload, stream, model, param="prompt", span=span)
            async with aclosing(source) as events:
                async for event in events:
                    yield event

    async def embed(self, server: ServerAddress, call: embeddings.EmbeddingCall) -> embeddings.Embeddings:
        """Return the vectors of ``call``'s texts, which go in one request; raises EndpointError."""
        with _generating(server, "embeddings", call.model) as span:
            answer = await self.request_json(
                server,
                "POST",
                embeddings.PATHS[server.kind],
                embeddings.payload(server.kind, call),
                timeout=self.timeouts.first_byte,
                model=call.model,
                param="input",
                span=span,
            )
            found = embeddings.parse(server.kind, answer, call)
            span.tell({"gen_ai.usage.input_tokens": found.prompt_tokens})
        return found

    async def _stream(
        self,
        server: ServerAddress,
        path: str,
        payload: bytes,
        stream: Any,
        model: str,
        *,
        span: Span,
        param: str = "messages",
    ) -> AsyncGenerator[ChatEvent]:
        """Post ``payload`` and yield the events that ``stream`` makes of the answer's lines."""
        first_deadline = asyncio.get_running_loop().time() + self.timeouts.first_byte
        async with self._response(server, "POST", path, payload, first_deadline, span=span) as response:
            if response.status_code >= 400:
                body = await _error_body(response)
                raise refusal(server, response.status_code, body, response.headers, model, param=param)
            started = False
            async with aclosing(self._lines(response, server, first_deadline)) as lines:
                async for line in lines:
                    for event in _understood(stream.feed, line):
                        if isinstance(event, Finish):
                            _finished(span, event)
                        started = True
                        yield event
                    if stream.done:
                        return
            for event in stream.end():
                if isinstance(event, Finish):
                    _finished(span, event)
                started = True
                yield event
            if stream.done:
                return
            raise UpstreamFailed(
                f"The model server '{server.name}' broke off in the middle of its answer."
                if started
                else f"The model server '{server.name}' sent no answer."
            )

    async def request_json(
        self,
        server: ServerAddress,
        method: str,
        path: str,
        body: Any = None,
        *,
        timeout: float = 10.0,
        model: str = "",
        param: str = "messages",
        span: Span = NOBODYS,
    ) -> Any:
        """Return the JSON a model server answers to one request; raises EndpointError.

        ``model`` and ``param`` are what a refusal is about, in the words of the client.
        """
        deadline = asyncio.get_running_loop().time() + timeout
        payload = None if body is None else codec.dumps(body)
        async with self._response(server, method, path, payload, deadline, span=span) as response:
            try:
                async with asyncio.timeout_at(deadline):
                    content = await response.aread()
            except TimeoutError as error:
                raise UpstreamTimedOut(f"The model server '{server.name}' did not answer in {timeout:g} s.") from error
            except httpx.TransportError as error:
                raise UpstreamFailed(f"The model server '{server.name}' broke off its answer.") from error
            if response.status_code >= 400:
                raise refusal(server, response.status_code, content, response.headers, model, param=param)
            try:
                return codec.loads(content)
            except ValueError as error:
                raise UpstreamFailed(
                    f"The model server '{server.name}' answered with something else than JSON."
                ) from error

    async def stream_lines(
        self, server: ServerAddress, method: str, path: str, body: Any = None, *, model: str = ""
    ) -> AsyncGenerator[bytes]:
        """Yield the lines a model server answers to a request that is no generation; raises EndpointError.

        Leaving the generator early closes the connection. ``model`` is what a refusal is about.
        """
        payload = None if body is None else codec.dumps(body)
        first_deadline = asyncio.get_running_loop().time() + self.timeouts.first_byte
        async with self._response(server, method, path, payload, first_deadline) as response:
            if response.status_code >= 400:
                raise refusal(server, response.status_code, await _error_body(response), response.headers, model)
            async with aclosing(self._lines(response, server, first_deadline)) as lines:
                async for line in lines:
                    yield line

    def _request(
        self, server: ServerAddress, method: str, path: str, payload: bytes | None, span: Span
    ) -> httpx.Request:
        address = server.base_url + path
        url = self._urls.get(address)
        if url is None:
            url = self._urls[address] = httpx.URL(address)
        headers = HEADERS if payload is None else HEADERS | {"Content-Type": "application/json"}
        if server.api_key:
            headers = headers | {"Authorization": f"Bearer {server.api_key}"}
        if trace := span.headers():
            headers = headers | trace
        return httpx.Request(method, url, headers=headers, content=payload, extensions=self._extensions)

    @asynccontextmanager
    async def _response(
        self,
        server: ServerAddress,
        method: str,
        path: str,
        payload: bytes | None,
        deadline: float,
        *,
        span: Span = NOBODYS,
    ) -> AsyncIterator[httpx.Response]:
        request = self._request(server, method, path, payload, span)
        try:
            async with asyncio.timeout_at(deadline):
                response = await self._transport.handle_async_request(request)
        except TimeoutError as error:
            raise _timed_out(server) from error
        except httpx.TransportError as error:
            logger.debug("model server unreachable server=%s error=%r", server.name, error.__cause__ or error)
            raise Unreachable(
                f"The model server '{server.name}' cannot be reached. Try again in a moment; if it stays away, "
                "an administrator should check that it runs and that its base URL is right.",
                retry_after=RETRY_AFTER_SECONDS,
            ) from error
        try:
            yield response
        finally:
            await response.aclose()

    async def _lines(
        self, response: httpx.Response, server: ServerAddress, first_deadline: float
    ) -> AsyncGenerator[bytes]:
        loop = asyncio.get_running_loop()
        splitter = codec.LineSplitter()
        deadline = first_deadline
        async with aclosing(_chunks(response)) as chunks:
            while True:
                try:
                    async with asyncio.timeout_at(deadline):
                        chunk = await anext(chunks, None)
                except TimeoutError as error:
                    raise _timed_out(server) from error
                except httpx.TransportError as error:
                    raise UpstreamFailed(
                        f"The connection to the model server '{server.name}' broke in the middle of its answer."
                    ) from error
                if chunk is None:
                    break
                deadline = loop.time() + self.timeouts.idle
                for line in splitter.feed(chunk):
                    yield line
        for line in splitter.flush():
            yield line


async def server_answers(server: ServerAddress, client: UpstreamClient) -> bool:
    """Tell whether a model server is there and ready, without making it load anything."""
    path = "/api/version" if server.kind is ServerKind.OLLAMA else "/v1/models"
    try:
        await client.request_json(server, "GET", path, timeout=PROBE_SECONDS)
    except EndpointError:
        return False
    return True


def _generating(server: ServerAddress, operation: str, model: str) -> Span:
    told = {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": server.kind.value,
        "gen_ai.request.model": model,
        "moe.server": server.name,
    }
    return stage("generate", told, calls=True)


def _finished(span: Span, finish: Finish) -> None:
    span.complete()
    usage = finish.usage
    if usage:
        span.tell(
            {
                "gen_ai.usage.input_tokens": usage.prompt_tokens,
                "gen_ai.usage.output_tokens": usage.completion_tokens,
                "gen_ai.response.finish_reasons": (finish.reason,),
            }
        )


def _session() -> aiohttp.ClientSession:
    # No limit here: how many requests a replica runs at once is the pool's to decide, not the sockets'.
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEPALIVE_SECONDS)
    return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar(), read_bufsize=2**18)


def new_tool_call_id() -> str:
    return f"call_{uuid.uuid4().hex[:24]}"


def _timed_out(server: ServerAddress) -> UpstreamTimedOut:
    return UpstreamTimedOut(
        f"The model server '{server.name}' stayed silent too long. Try again with a shorter prompt or a smaller "
        "model; an administrator can raise UPSTREAM_FIRST_BYTE_TIMEOUT and UPSTREAM_IDLE_TIMEOUT."
    )


def _understood(feed: Callable[[bytes], list[ChatEvent]], line: bytes) -> list[ChatEvent]:
    try:
        return feed(line)
    except (AttributeError, KeyError, TypeError) as error:
        # Valid JSON of a shape no protocol knows: {"message": "text"}, {"choices": [null]}.
        raise UpstreamFailed("The model server sent something that is no answer.") from error


def _chunks(response: httpx.Response) -> AsyncGenerator[bytes]:
    # The transport's own generator, without the three layers httpx puts around it.
    return cast("AsyncGenerator[bytes]", response.stream.__aiter__())  # type: ignore[union-attr]


async def _error_body(response: httpx.Response) -> bytes:
    body = b""
    try:
        async with asyncio.timeout(10), aclosing(_chunks(response)) as chunks:
            async for chunk in chunks:
                body += chunk
                if len(body) > ERROR_BODY_BYTES:
                    break
    except (TimeoutError, httpx.TransportError):
        logger.debug("the body of an error could not be read to its end")
    return body
