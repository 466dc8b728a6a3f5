"""The door for responses."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from django.conf import settings

from gateway import sse
from gateway.auth import Caller
from gateway.cited import Cited
from gateway.completions import Routed, complete
from gateway.doors import Door
from gateway.fields import json_object
from gateway.http import EventStream
from gateway.policy import Scope
from gateway.responses.citing import Files
from gateway.responses.ids import new_response_id
from gateway.responses.output import Event
from gateway.responses.request import ResponseRequest, read_response, rename, rename_store
from gateway.responses.stored import looked_up, response_store
from gateway.responses.writing import ResponseWriter
from gateway.vectorstores.searching import file_names
from knowledge.exceptions import CollectionNotFound
from knowledge.threads import in_thread
from routing.backends.protocol import ChatEvent
from routing.exceptions import EndpointError
from routing.mixture.parts import Parts

Events = AsyncGenerator[Routed | Cited | Parts | ChatEvent]


class Responses(Door):
    """POST /v1/responses"""

    needs = Scope.CHAT
    what = "response"
    writer: ResponseWriter | None = None

    async def handle(self, body: bytes) -> None:
        caller = await self.caller()
        data = json_object(body)
        asked = read_response(data, new_response_id(), await looked_up(data, caller))
        self.writer = writer = ResponseWriter(asked, keeps=asked.stores and bool(caller.keeps_texts))
        answering = complete(
            asked.chat,
            caller=caller,
            asker=self.asker(caller),
            request_id=self.request_id,
            site=self.site,
            what=self.what,
        )
        try:
            async with aclosing(answering) as events:
                if asked.chat.stream:
                    await self._stream(events, asked, writer, caller)
                else:
                    await self._collect(events, asked, writer, caller)
        except CollectionNotFound as error:
            if asked.tools.search:
                rename_store(error)
            raise

    async def _collect(self, events: Events, asked: ResponseRequest, writer: ResponseWriter, caller: Caller) -> None:
        async for event in events:
            if isinstance(event, Routed):
                await self._routed(event, asked, writer)
            else:
                for _ in writer.write(event):
                    pass
        await self._keep(asked, writer, caller)
        if writer.adjusted:
            self.extra_headers["X-MoE-Adjusted"] = ",".join(writer.adjusted)
        await self.send_json(writer.response())

    async def _stream(self, events: Events, asked: ResponseRequest, writer: ResponseWriter, caller: Caller) -> None:
        async with EventStream(self, heartbeat=settings.STREAM_HEARTBEAT_SECONDS) as stream:
            async for event in events:
                if isinstance(event, Routed):
                    await self._routed(event, asked, writer)
                elif data := b"".join(map(_written, writer.write(event))):
                    await stream.write(data)
            await self._keep(asked, writer, caller)
            await stream.end(b"".join(map(_written, writer.end())))

    async def _routed(self, event: Routed, asked: ResponseRequest, writer: ResponseWriter) -> None:
        self.routed(event)
        files: Files = {}
        if asked.tools.search and event.grounded and event.grounded.retrieval:
            files = await in_thread(file_names)(event.grounded.retrieval.passages)
        writer.routed(event, files)

    async def _keep(self, asked: ResponseRequest, writer: ResponseWriter, caller: Caller) -> None:
        if writer.keeps and writer.routed_to:
            writer.keeps = await response_store(
                asked, writer.response(), writer.routed_to, caller=caller, request_id=self.request_id
            )

    async def send_error(self, error: EndpointError) -> None:
        rename(error)
        if self.response_started and self.writer:
            await self.send_body(b"".join(map(_written, self.writer.failed(error))))
        else:
            await super().send_error(error)


def _written(event: Event) -> bytes:
    return sse.event(event["type"], event)
