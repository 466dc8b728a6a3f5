"""What a request leaves behind of what it took: one record, whichever way it ended, and texts where they are kept."""

import asyncio
import json

import pytest
from channels.db import database_sync_to_async

from gateway import account, decisions, doors
from gateway.auth import Caller, keys
from gateway.consumers import ChatCompletions
from gateway.decisions import Decisions
from gateway.guards.live import guards
from gateway.guards.live import load as no_guards
from gateway.models import ApiKey, Exchange, KeyUse, UsageHour, UsageRecord, key_digest
from gateway.surfaces import EmbeddingsDoor, TextCompletions
from gateway.usage import journal as module
from gateway.usage import texts as texts_module
from gateway.usage.journal import UsageJournal
from gateway.usage.texts import Texts
from routing.backends.protocol import ServerAddress, ServerKind
from routing.catalog import Catalog, Expert, Profile, Replica, catalog
from routing.classifying import Active, active
from routing.metering import helping
from routing.pool import close_shared_pool
from tests.gateway.test_http import Connection
from tests.scripted import Piece, Reply, Residency, ScriptedModel, ScriptedServer

pytestmark = pytest.mark.django_db(transaction=True)

TEXT = "sk-moe-text"


class Desk:
    """One expert on one scripted server, asked by one key."""

    def __init__(self, monkeypatch):
        models = [
            ScriptedModel(name="m", capabilities=("completion", "tools", "thinking")),
            ScriptedModel(name="e", capabilities=("embedding",)),
        ]
        self.server = ScriptedServer(models).start()
        self.server.loaded.update(dict.fromkeys(("m", "e"), Residency(context_length=8192)))
        self.server.default_reply = Reply(content=["Hello", " there"], prompt_tokens=11, completion_tokens=2)
        self.usage, self.texts = UsageJournal(), Texts()
        for owner, name, value in (
            (module, "usage", self.usage),
            (account, "usage", self.usage),
            (doors, "usage", self.usage),
            (texts_module, "texts", self.texts),
        ):
            monkeypatch.setattr(owner, name, value)
        self.patch = monkeypatch
        self.asks(Caller())
        monkeypatch.setattr(active, "_value", Active(problem="none"))
        self.patch.setattr(catalog, "_value", self.shown())

    def asks(self, caller):
        self.patch.setattr(keys, "_value", {key_digest(TEXT): caller})

    def shown(self, kind=ServerKind.OLLAMA):
        address = ServerAddress(name="box", kind=kind, base_url=self.server.url)
        experts = [
            Expert(
                slug=slug,
                price_in=2.0,
                price_out=10.0,
                replicas=(Replica(server=address, embedded=False, model=model),),
            )
            for slug, model in (("general", "m"), ("e", "e"))
        ]
        return Catalog(
            experts={"general": experts[0]},
            models={},
            embedders={"e": experts[1]},
            rules=(),
            default="general",
            profiles={"auto": Profile(slug="auto", asks_program=False)},
        )

    async def send(self, door=ChatCompletions, leave_when=None, **body):
        given = {"model": "auto", "messages": [{"role": "user", "content": "Good morning"}]} | body
        connection = Connection(json.dumps(given).encode())
        connection.scope |= {"client": ("10.1.2.3", 5000)}
        connection.scope["headers"] += [(b"host", b"localhost"), (b"authorization", f"Bearer {TEXT}".encode())]
        running = asyncio.create_task(connection.run(door))
        if leave_when:
            await leave_when(connection)
            connection.leave()
        await running
        return connection

    async def records(self):
        return await database_sync_to_async(self._records)()

    def _records(self):
        self.usage.flush()
        self.texts.flush()
        return list(UsageRecord.objects.order_by("pk"))

    async def record(self):
        (record,) = await self.records()
        return record


@pytest.fixture
async def desk(monkeypatch, settings):
    settings.STREAM_HEARTBEAT_SECONDS = 0
    settings.UPSTREAM_MAX_RETRIES = 0
    monkeypatch.setattr(guards, "_value", await database_sync_to_async(no_guards)())
    desk = Desk(monkeypatch)
    yield desk
    await close_shared_pool()
    desk.server.close()


@database_sync_to_async
def made_key(**fields):
    return ApiKey.objects.create(name="laptop", prefix="sk-moe-text", digest=key_digest(TEXT), **fields)


async def test_an_answer_leaves_one_record_with_everything_in_it(desk):
    key = await made_key(group="sales")
    desk.asks(Caller(key_id=key.pk, name="laptop", prefix="sk-moe-text", group="sales"))
    connection = await desk.send(stream=True)
    record = await desk.record()
    assert (record.what, record.asked, record.profile, record.expert) == ("completion", "auto", "auto", "general")
    assert (record.key_id, record.key_name, record.group, record.request_id) == (key.pk, "laptop", "sales", "abc")
    assert (record.prompt_tokens, record.completion_tokens, record.is_estimated) == (11, 2, False)
    assert float(record.cost) == pytest.approx((11 * 2 + 2 * 10) / 1e6)
    assert (record.status, record.outcome, record.is_cancelled, record.is_streamed) == (200, "stop", False, True)
    assert record.replica == "m@box"
    assert 0 <= record.queue_ms <= record.first_token_ms <= record.total_ms
    assert record.load_ms == 0
    assert record.decision in {value.decode() for _, value in connection.sent[0]["headers"]}


async def test_a_request_that_waits_for_its_model_to_load_says_how_long(desk):
    desk.server.loaded.pop("m")
    desk.server.load_delay = 0.3
    await desk.send()
    await desk.send()
    waited, followed = await desk.records()
    assert 300 <= waited.load_ms <= waited.first_token_ms <= waited.total_ms
    assert followed.load_ms == 0


async def test_the_key_was_used_from_where_it_was(desk):
    key = await made_key()
    desk.asks(Caller(key_id=key.pk, name="laptop", address="10.1.2.3"))
    await desk.send()
    await desk.records()
    use = await database_sync_to_async(KeyUse.objects.get)(pk=key.pk)
    assert use.last_address == "10.1.2.3"


async def test_what_is_refused_before_anybody_is_asked_is_recorded_too(desk):
    assert (await desk.send(messages=[])).status == 400
    record = await desk.record()
    assert (record.what, record.status, record.expert) == ("completion", 400, "")
    assert record.outcome
    (hour,) = await database_sync_to_async(lambda: list(UsageHour.objects.all()))()
    assert (hour.requests, hour.errors, hour.asked) == (1, 1, "")


async def test_nobody_is_recorded_who_did_not_come_in(desk):
    desk.patch.setattr(keys, "_value", {})
    assert (await desk.send()).status == 401
    assert await desk.records() == []


async def test_a_model_that_does_not_exist_leaves_no_name_in_the_sums(desk):
    assert (await desk.send(model="no-such-model")).status == 404
    record = await desk.record()
    assert (record.asked, record.status) == ("no-such-model", 404)
    (hour,) = await database_sync_to_async(lambda: list(UsageHour.objects.all()))()
    assert hour.asked == ""


@pytest.mark.parametrize(("leaves", "ending"), [(False, (500, "server_error")), (True, (499, "cancelled"))])
async def test_a_decision_that_was_not_made_is_not_recorded_as_one(desk, leaves, ending):
    began = asyncio.Event()

    async def decided(request, asker, library):
        began.set()
        await asyncio.sleep(30 if leaves else 0)
        raise RuntimeError("unforeseen")

    desk.patch.setattr(decisions, "decided", decided)
    await desk.send(Decisions, leave_when=(lambda _: began.wait()) if leaves else None)
    record = await desk.record()
    assert (record.status, record.outcome, record.is_cancelled) == (*ending, leaves)


async def test_decisions_and_embeddings_and_texts_are_records_of_their_kinds(desk):
    await desk.send(Decisions)
    await desk.send(EmbeddingsDoor, model="e", input=["one two", "three"])
    await desk.send(TextCompletions, prompt=["Once", "Twice"])
    records = await desk.records()
    assert [record.what for record in records] == ["decision", "embeddings", "text completion"]
    assert [record.prompt_tokens for record in records] == [0, 4, 22]
    assert [record.completion_tokens for record in records] == [0, 0, 4]


async def test_thinking_is_told_apart_by_its_share_where_the_server_does_not(desk):
    desk.server.default_reply = Reply(thinking=["hm", "well", "so"], content=["Yes"], completion_tokens=8)
    await desk.send(stream=True)
    record = await desk.record()
    assert (record.completion_tokens, record.thinking_tokens) == (8, 6)


# --- what was cut short -------------------------------------------------------------------------------------------


async def came(connection, pieces):
    while connection.body.count(b'"content":"x') < pieces:  # noqa: ASYNC110 - a client has no event for it
        await asyncio.sleep(0.005)


@pytest.mark.parametrize("streams", [True, False])
async def test_a_client_that_leaves_is_charged_for_what_was_written(desk, streams):
    desk.server.default_reply = Reply(content=["x1", "x2", "x3", "x4"], hang_after=3)

    async def leave(connection):
        if streams:
            await came(connection, 3)
        else:
            request = await asyncio.to_thread(desk.server.wait_for_work, "/api/chat")
            while request.pieces_sent < 3:  # noqa: ASYNC110 - the server is a thread
                await asyncio.sleep(0.005)
            await asyncio.sleep(0.1)

    await desk.send(leave_when=leave, stream=streams)
    record = await desk.record()
    assert (record.status, record.outcome, record.is_cancelled) == (499, "cancelled", True)
    assert (record.completion_tokens, record.is_estimated) == (3, True)
    assert record.prompt_tokens > 0


async def test_who_leaves_before_a_piece_is_charged_for_the_prompt_that_is_being_read(desk):
    desk.server.default_reply = Reply(content=["x"], first_delay=30)

    async def leave(connection):
        await asyncio.to_thread(desk.server.wait_for_work, "/api/chat")
        await asyncio.sleep(0.05)

    await desk.send(leave_when=leave)
    record = await desk.record()
    assert (record.is_cancelled, record.completion_tokens, record.is_estimated) == (True, 0, True)
    assert record.prompt_tokens > 0
    assert record.first_token_ms is None


async def test_a_server_that_refuses_costs_nothing(desk):
    desk.server.default_reply = Reply(status=500)
    await desk.send()
    record = await desk.record()
    assert (record.prompt_tokens, record.completion_tokens, record.status) == (0, 0, 502)
    assert record.cost == 0


async def test_an_answer_that_breaks_off_is_charged_for_its_pieces(desk):
    desk.server.default_reply = Reply(content=["x1", "x2", "x3"], drop_after=2)
    await desk.send(stream=True)
    record = await desk.record()
    assert (record.completion_tokens, record.is_estimated, record.is_cancelled) == (2, True, False)
    assert record.status >= 500


# --- what helps ----------------------------------------------------------------------------------------------------


async def test_what_helps_on_the_way_is_a_record_of_its_own(desk, monkeypatch):
    from gateway import completions
    from routing.pool import shared_pool

    usual = completions.decided

    async def decided(request, asker, library):
        decision = await usual(request, asker, library)
        with helping("condensing"):
            async for _ in shared_pool().chat(decision, request, tenant="x"):
                pass
        return decision

    monkeypatch.setattr(completions, "decided", decided)
    await desk.send()
    records = await desk.records()
    assert [(one.what, one.prompt_tokens, one.status) for one in records] == [
        ("completion", 11, 200),
        ("condensing", 11, 200),
    ]
    assert len({one.request_id for one in records}) == 1


# --- texts ---------------------------------------------------------------------------------------------------------


async def texts(desk):
    await desk.records()
    return await database_sync_to_async(lambda: list(Exchange.objects.all()))()


async def test_texts_are_kept_for_those_who_want_it_and_nobody_else(desk):
    await desk.send()
    assert await texts(desk) == []
    key = await made_key(keeps_texts=True)
    desk.asks(Caller(key_id=key.pk, name="laptop", keeps_texts="key"))
    desk.server.default_reply = Reply(content=["Good", Piece(content=" day")], thinking=["hm"])
    await desk.send(stream=True)
    (kept,) = await texts(desk)
    assert kept.request == {"messages": [{"role": "user", "content": "Good morning"}]}
    assert kept.answer["message"]["content"] == "Good day"
    assert kept.answer["message"]["reasoning_content"] == "hm"
    assert (kept.answer["finish_reason"], kept.because, kept.key_id) == ("stop", "key", key.pk)
    assert kept.id == kept.decision
    assert "Bearer" not in str((kept.request, kept.answer))


async def test_what_was_said_until_a_client_left_is_kept(desk):
    key = await made_key(keeps_texts=True)
    desk.asks(Caller(key_id=key.pk, name="laptop", keeps_texts="key"))
    desk.server.default_reply = Reply(content=["x1", "x2", "x3"], hang_after=2)
    await desk.send(leave_when=lambda connection: came(connection, 2), stream=True)
    (kept,) = await texts(desk)
    assert (kept.answer["message"]["content"], kept.answer["finish_reason"]) == ("x1x2", None)


async def test_texts_of_a_key_that_was_deleted_do_not_keep_others_from_being_written(desk):
    key = await made_key(keeps_texts=True)
    for key_id in (key.pk, 999_999):
        desk.asks(Caller(key_id=key_id, name="laptop", keeps_texts="key"))
        await desk.send()
    assert [one.key_id for one in await texts(desk)] == [key.pk]
    assert desk.texts.dropped == 1
