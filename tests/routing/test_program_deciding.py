"""The program at work: whatever goes wrong with it, no request waits beyond its limit, and the decision says why."""

import asyncio
import time
from contextlib import aclosing
from dataclasses import replace

import pytest

from routing.backends.protocol import ServerKind
from routing.catalog import Expert
from routing.decision import Decision
from routing.pool import Pool
from routing.program import deciding as at_work
from routing.program.deciding import deciding_apart
from routing.program.opinion import ProgramOpinion
from routing.program.verdict import UNTOLD_CONFIDENCE, Verdict
from tests.requests import chat_request
from tests.routing.program_shelf import EXPERTS, MODEL, deciding, judging, new_pool, program, replica, says, seen, shelf
from tests.scripted import Reply, ScriptedModel, ScriptedServer

LATE = 5.0
"""Seconds beyond its limit that a decision may take on a busy machine; the models here would take 20 and more."""


@pytest.fixture
def server():
    with judging() as server:
        yield server


@pytest.fixture
async def pool():
    pool = new_pool()
    yield pool
    await pool.aclose()


async def ready(pool, catalog, **fields):
    found = deciding(pool, catalog, program(**fields))
    await found.warm()
    return found


async def opinion(service, text="What is 2 + 2?", *, allowed=EXPERTS):
    return await service.opinion(seen(text), allowed)


def asked(server):
    return server.work_at("/api/chat")


async def becomes_idle(pool):
    """Tell whether nobody has or waits for a seat, soon: what is cut off lets go by itself."""
    for _ in range(2_000):
        lanes = pool.admission.lanes.values()
        if all(lane.in_flight == 0 and lane.waiting == 0 for lane in lanes) and not len(pool.admission.queue):
            return True
        await asyncio.sleep(0.01)
    return False


async def test_its_verdict_is_one_of_those_that_may_answer(server, pool):
    service = await ready(pool, shelf(replica(server)))
    found = await opinion(service)
    assert found == replace(
        ProgramOpinion(version=7, verdict=Verdict(expert="math", confidence=0.8, reason="a sum is asked for")),
        accepted=True,
        milliseconds=found.milliseconds,
    )
    assert found.milliseconds > 0


async def test_only_those_that_may_answer_are_shown_and_named(server, pool):
    service = await ready(pool, shelf(replica(server)))
    allowed = {slug: EXPERTS[slug] for slug in ("code", "writing")}
    found = await opinion(service, allowed=allowed)
    assert (found.verdict, found.accepted) == (None, False)
    assert found.skipped == ("program: its answer names none of the experts that may be chosen",)
    assert "equations" not in str(asked(server)[0].json)
    assert asked(server)[0].json["format"]["properties"]["expert"]["enum"] == ["code", "writing"]


async def test_without_an_active_program_nobody_is_asked(server, pool):
    assert await opinion(deciding(pool, shelf(replica(server)), None)) is None
    assert not server.requests


async def test_the_same_question_is_remembered_until_anything_about_it_changes(server, pool):
    catalog = shelf(replica(server))
    service = await ready(pool, catalog)
    first, second = await opinion(service), await opinion(service)
    assert (first.remembered, second.remembered, len(asked(server))) == (False, True, 1)
    assert second.verdict == first.verdict
    assert second.accepted
    await opinion(service, "And 3 + 3?")
    await opinion(service, allowed={slug: EXPERTS[slug] for slug in ("code", "math")})
    await opinion(service, allowed=EXPERTS | {"math": replace(EXPERTS["math"], description="Counts.")})
    assert len(asked(server)) == 4


async def test_an_answer_that_is_none_is_remembered_too(server, pool):
    server.default_reply = Reply(content=["I cannot say."])
    service = await ready(pool, shelf(replica(server)))
    for _ in range(2):
        assert "names none" in (await opinion(service)).why_not
    assert len(asked(server)) == 1


@pytest.mark.parametrize(("confidence", "accepted"), [(0.59, False), (0.6, True), (None, False)])
async def test_a_verdict_of_little_confidence_is_shown_and_not_followed(server, pool, confidence, accepted):
    server.default_reply = says("math", confidence)
    found = await opinion(await ready(pool, shelf(replica(server)), accept_from=0.6))
    assert found.accepted is accepted
    assert found.verdict.expert == "math"
    assert found.verdict.confidence == (UNTOLD_CONFIDENCE if confidence is None else confidence)
    assert found.why_not == ("" if accepted else "its confidence is under 60%")
    assert found.skipped == ()


class TestTimeLimit:
    """No request waits longer than the limit, whatever the program waits for."""

    @pytest.mark.parametrize(
        "reply",
        [
            Reply(load_delay=30),
            Reply(first_delay=30),
            Reply(content=["{", "}"], hang_after=1),
            Reply(content=["{"] + [" "] * 1000, delay=0.02),
        ],
        ids=["no headers", "no first piece", "hangs", "dawdles"],
    )
    async def test_a_slow_model_is_given_up_and_its_request_closed(self, server, pool, reply):
        service = await ready(pool, shelf(replica(server)), time_limit=0.3)
        server.default_reply = reply
        began = time.monotonic()
        found = await opinion(service)
        assert time.monotonic() - began < 0.3 + LATE
        assert found.skipped == ("program: it took longer than 0.3 s",)
        assert await asyncio.to_thread(asked(server)[0].wait_disconnected)
        assert await becomes_idle(pool)
        server.default_reply = says("math")
        assert (await opinion(service)).accepted

    async def test_what_it_had_written_by_then_counts(self, server, pool, monkeypatch):
        monkeypatch.setattr(at_work, "SPARE_SECONDS", 20)
        service = await ready(pool, shelf(replica(server)), time_limit=22)
        server.default_reply = Reply(content=['{"expert": "math", "confidence": 0.9, ', '"reason": "'], hang_after=1)
        found = await opinion(service)
        assert (found.verdict, found.accepted) == (Verdict(expert="math", confidence=0.9), True)
        server.default_reply = says("math", 0.8)
        assert (await opinion(service)).verdict.confidence == 0.8, "what was cut short is not remembered"

    async def test_a_model_that_loads(self, server, pool):
        server.loaded.clear()
        server.load_delay = 30
        service = await ready(pool, shelf(replica(server)), time_limit=0.3, loads_model=True)
        began = time.monotonic()
        found = await opinion(service)
        assert time.monotonic() - began < 0.3 + LATE
        assert found.skipped == ("program: it took longer than 0.3 s",)

    async def test_a_server_that_does_not_say_what_is_in_memory(self, server, pool):
        server.reply(Reply(load_delay=30), path="/api/ps", times=None)
        service = await ready(pool, shelf(replica(server)), time_limit=0.3)
        began = time.monotonic()
        assert "took longer" in (await opinion(service)).why_not
        assert time.monotonic() - began < 0.3 + LATE

    async def test_a_queue_in_front_of_the_model(self, server, pool):
        busy = replica(server, concurrency=1)
        service = await ready(pool, shelf(busy), time_limit=0.3)
        server.default_reply = Reply(content=["a", "b"], hang_after=1)
        chosen = Decision(id="dec_1", expert=Expert(slug="judge", replicas=(busy,)), route="explicit", why="")
        async with aclosing(pool.chat(chosen, chat_request(), tenant="key")) as events:
            await anext(events), await anext(events)
            began = time.monotonic()
            found = await opinion(service)
            assert time.monotonic() - began < 0.3 + LATE
            assert found.skipped == ("program: it took longer than 0.3 s",)
        assert await becomes_idle(pool)

    async def test_a_pool_that_does_not_let_go(self, server):
        """A hold-up of our own making is not waited for either."""
        let_go = asyncio.Event()

        class Stuck(Pool):
            async def chat(self, *args, **kwargs):
                try:
                    await asyncio.sleep(30)
                finally:
                    await let_go.wait()
                yield

        stuck = new_pool()
        stuck.__class__ = Stuck
        service = await ready(stuck, shelf(replica(server)), time_limit=0.3)
        began = time.monotonic()
        assert "took longer" in (await opinion(service)).why_not
        assert time.monotonic() - began < 0.3 + LATE
        let_go.set()
        await service.aclose()
        await stuck.aclose()

    async def test_a_client_that_leaves_takes_the_question_along(self, server, pool):
        server.default_reply = Reply(content=["{"], hang_after=1)
        service = await ready(pool, shelf(replica(server)), time_limit=30)
        task = asyncio.create_task(opinion(service))
        request = await asyncio.to_thread(server.wait_for_work, "/api/chat")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(request.wait_disconnected)


class TestNotInMemory:
    """Nobody waits for a model to load, unless the administrator said so."""

    async def test_it_is_passed_over_and_nothing_is_loaded(self, server, pool):
        server.loaded.clear()
        service = await ready(pool, shelf(replica(server)))
        assert (await opinion(service)).skipped == ("program: the model of judge is not in memory",)
        assert not server.requests_to("/api/chat")
        assert not server.requests_to("/api/generate")

    async def test_it_may_be_loaded(self, server, pool):
        server.loaded.clear()
        service = await ready(pool, shelf(replica(server)), loads_model=True)
        assert (await opinion(service)).accepted
        assert MODEL in server.loaded

    async def test_the_replica_that_has_it_is_asked(self, server, pool):
        with ScriptedServer([ScriptedModel(name=MODEL)]) as cold:
            service = await ready(pool, shelf(replica(cold), replica(server)))
            for number in range(4):
                assert (await opinion(service, f"{number} + 2")).accepted
            assert not cold.requests_to("/api/chat")

    async def test_a_server_that_does_not_tell_is_asked(self, server, pool):
        service = await ready(pool, shelf(replica(server, kind=ServerKind.OPENAI)))
        assert (await opinion(service)).accepted

    async def test_it_takes_no_failure_to_be_passed_over(self, server, pool):
        server.loaded.clear()
        service = await ready(pool, shelf(replica(server)))
        for number in range(5):
            assert "not in memory" in (await opinion(service, f"{number} + 2")).why_not


class TestRest:
    """Three failures in a row, and it is left alone for a while."""

    async def failing(self, server, service, times):
        server.default_reply = Reply(status=500, error="boom")
        for number in range(times):
            found = await opinion(service, f"{number} + 2")
        return found

    async def test_after_three_failures_nobody_waits_for_it(self, server, pool):
        service = await ready(pool, shelf(replica(server)))
        assert "boom" in (await self.failing(server, service, 3)).why_not
        found = await opinion(service, "4 + 4")
        assert found.skipped == ("program: it failed 3 times in a row and is tried again in 30 s",)
        assert len(asked(server)) == 3

    async def test_then_one_request_tries_it_again(self, server, pool, monkeypatch):
        monkeypatch.setattr(at_work, "REST_SECONDS", 0.2)
        service = await ready(pool, shelf(replica(server)))
        await self.failing(server, service, 3)
        await asyncio.sleep(0.25)
        await self.failing(server, service, 1)
        assert "tried again" in (await opinion(service, "4 + 4")).why_not
        assert len(asked(server)) == 4
        await asyncio.sleep(0.25)
        server.default_reply = says("math")
        for number in range(3):
            assert (await opinion(service, f"{number} + 5")).accepted

    async def test_a_success_between_them_starts_the_count_again(self, server, pool):
        service = await ready(pool, shelf(replica(server)))
        await self.failing(server, service, 2)
        server.default_reply = says("math")
        assert (await opinion(service)).accepted
        assert "boom" in (await self.failing(server, service, 2)).why_not

    async def test_another_program_is_not_blamed(self, server, pool):
        active = [program()]
        service = deciding(pool, shelf(replica(server)), active)
        await service.warm()
        await self.failing(server, service, 3)
        server.default_reply = says("math")
        active.append(program(version=8, digest="two"))
        assert "still being loaded" in (await opinion(service)).why_not
        await service.warm()
        found = await opinion(service)
        assert (found.version, found.accepted) == (8, True)

    async def test_what_is_remembered_is_known_while_it_rests(self, server, pool):
        service = await ready(pool, shelf(replica(server)))
        await opinion(service, "remembered")
        await self.failing(server, service, 3)
        assert (await opinion(service, "remembered")).accepted


@pytest.mark.parametrize(
    ("fields", "experts", "why"),
    [
        ({"runs_on": ""}, {}, "the expert it runs on was deleted; choose another one for it"),
        ({"runs_on": "gone"}, {}, "the expert it runs on, gone, is disabled"),
        ({"runs_on": "math"}, {}, "the expert it runs on, math, has no replica on an enabled model server"),
    ],
)
async def test_without_its_expert_it_is_passed_over(server, pool, fields, experts, why):
    service = await ready(pool, shelf(replica(server), **experts), **fields)
    for _ in range(4):
        assert (await opinion(service)).skipped == (f"program: {why}",)


async def test_until_it_is_loaded_it_is_passed_over(server, pool):
    service = deciding(pool, shelf(replica(server)), program())
    assert (await opinion(service)).skipped == ("program: DSPy and the program are still being loaded",)
    await service.warm()
    assert (await opinion(service)).accepted


async def test_a_state_that_cannot_be_read_is_told(server, pool):
    service = await ready(pool, shelf(replica(server)), state={"choose": {"demos": []}})
    assert "it cannot be loaded" in (await opinion(service)).why_not
    assert not asked(server)


@pytest.mark.parametrize("text", ["", "  \n", "\0", "\ud83d", "x" * 300_000, "```" * 5000])
async def test_any_text_is_survived(server, pool, text):
    service = await ready(pool, shelf(replica(server)))
    found = await opinion(service, text)
    assert found.accepted or found.why_not == "there is no text"


async def test_a_database_that_is_away_is_told(pool, server):
    service = deciding(pool, shelf(replica(server)), OSError("the database is away"))
    assert (await opinion(service)).skipped == ("program: OSError: the database is away",)


async def test_a_command_asks_a_given_program_on_a_pool_of_its_own(server, monkeypatch):
    async def known():
        return shelf(replica(server))

    monkeypatch.setattr(at_work.live_catalog, "aget", known)
    async with deciding_apart(program(version=3)) as service:
        found = await opinion(service)
    assert (found.version, found.accepted) == (3, True)
