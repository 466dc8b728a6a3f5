"""The doors that stream."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from django.conf import settings

from gateway import sse
from gateway.chatanswer import ChunkWriter, Completion
from gateway.chatrequest import parse_chat
from gateway.cited import Cited
from gateway.completions import Routed, complete
from gateway.doors import Door
from gateway.http import EventStream
from gateway.policy import Scope
from routing.backends.protocol import ChatEvent, ChatRequest
from routing.mixture.parts import Parts

Events = AsyncGenerator[Routed | Cited | Parts | ChatEvent]


class ChatCompletions(Door):
    """POST /v1/chat/completions"""

    needs = Scope.CHAT
    what = "completion"

    async def handle(self, body: bytes) -> None:
        caller = await self.caller()
        request = parse_chat(body)
        asker = self.asker(caller)
        answering = complete(request, caller=caller, asker=asker, request_id=self.request_id, site=self.site)
        async with aclosing(answering) as events:
            if request.stream:
                await self._stream(events, request)
            else:
                await self._collect(events, request)

    async def _collect(self, events: Events, request: ChatRequest) -> None:
        answer = Completion()
        async for event in events:
            if isinstance(event, Routed):
                self.extra_headers, routed = event.headers(), event
            else:
                answer.add(event)
        if adjusted := answer.adjusted:
            self.extra_headers["X-MoE-Adjusted"] = ",".join(adjusted)
        await self.send_json(answer.whole(routed.head, routed.explained() if request.explain else None))

    async def _stream(self, events: Events, request: ChatRequest) -> None:
        writer: ChunkWriter | None = None
        async with EventStream(self, heartbeat=settings.STREAM_HEARTBEAT_SECONDS) as stream:
            async for event in events:
                if isinstance(event, Routed):
                    self.extra_headers = event.headers()
                    writer = ChunkWriter(
                        event.head,
                        include_usage=request.include_usage,
                        choices=request.n,
                        moe=event.explained() if request.explain else None,
                    )
                    continue
                assert writer is not None
                if data := b"".join(sse.data(chunk) for chunk in writer.write(event)):
                    await stream.write(data)
            await stream.end(sse.DONE)
