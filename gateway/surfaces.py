"""The other doors on the same engine: OpenAI's embeddings and text completions."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from django.conf import settings

from gateway import sse
from gateway.auth import Caller
from gateway.completions import Routed
from gateway.doors import Door
from gateway.embeddings import EmbeddingRequest, embed, embedding_list, parse_embeddings
from gateway.http import EventStream
from gateway.policy import Scope
from gateway.textanswer import TextCollector, TextWriter
from gateway.textcompletions import complete_text
from gateway.textrequest import parse_text
from routing.backends.embeddings import Embeddings
from routing.backends.protocol import ChatEvent, ChatRequest


class Embedding(Door):
    """What the doors that give vectors have in common."""

    needs = Scope.EMBEDDINGS
    what = "embeddings"

    async def embedded(self, request: EmbeddingRequest, caller: Caller) -> Embeddings:
        """Return the embeddings asked for."""
        found = Embeddings(vectors=())
        async with aclosing(embed(request, caller=caller, request_id=self.request_id)) as events:
            async for event in events:
                if isinstance(event, Routed):
                    self.routed(event)
                else:
                    found = event
        return found


class EmbeddingsDoor(Embedding):
    """POST /v1/embeddings"""

    async def handle(self, body: bytes) -> None:
        caller = await self.caller()
        request = parse_embeddings(body)
        found = await self.embedded(request, caller)
        await self.send_json(embedding_list(found, request, self.head.model))


class TextCompletions(Door):
    """POST /v1/completions"""

    needs = Scope.CHAT
    what = "text completion"

    async def handle(self, body: bytes) -> None:
        caller = await self.caller()
        request = parse_text(body)
        asker = self.asker(caller)
        async with aclosing(complete_text(request, caller=caller, asker=asker, request_id=self.request_id)) as events:
            if request.chat.stream:
                await self._stream(events, request.chat)
            else:
                await self._collect(events, request.chat)

    async def _collect(self, events: AsyncGenerator[Routed | ChatEvent], request: ChatRequest) -> None:
        answer = TextCollector()
        async for event in events:
            if isinstance(event, Routed):
                self.routed(event)
                routed = event
            else:
                answer.add(event)
        await self.send_json(answer.completion(self.head, routed.explained() if request.explain else None))

    async def _stream(self, events: AsyncGenerator[Routed | ChatEvent], request: ChatRequest) -> None:
        writer: TextWriter | None = None
        async with EventStream(self, heartbeat=settings.STREAM_HEARTBEAT_SECONDS) as stream:
            async for event in events:
                if isinstance(event, Routed):
                    self.routed(event)
                    writer = writer or TextWriter(
                        event.head,
                        include_usage=request.include_usage,
                        moe=event.explained() if request.explain else None,
                    )
                    continue
                assert writer is not None
                if chunks := b"".join(sse.data(chunk) for chunk in writer.write(event)):
                    await stream.write(chunks)
            last = writer.end() if writer else ()
            await stream.end(b"".join(sse.data(chunk) for chunk in last) + sse.DONE)
