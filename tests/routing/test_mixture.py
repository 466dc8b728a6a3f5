"""Mixtures and cascades on scripted servers: who is asked, what is given, what it took, and that it stops."""

import asyncio
import time
from contextlib import aclosing
from dataclasses import replace

import pytest

from routing.admission import Limits
from routing.backends.client import Timeouts, UpstreamClient
from routing.backends.protocol import Delta, Finish, ServerAddress, ServerKind
from routing.catalog import Expert, Mixing, Mode, Replica
from routing.classifying import shared_embedder
from routing.decision import Decision
from routing.exceptions import UpstreamFailed
from routing.mixture.mixing import answering
from routing.mixture.parts import Parts
from routing.mixture.plan import Plan
from routing.pool import Pool, PromptCut
from routing.trial import Attempt
from tests.requests import chat_request, tool
from tests.scripted import Reply, Residency, ScriptedModel, ScriptedServer

SLUGS = ("ann", "ben", "cid", "dan")
SIZES = {"ann": 1.0, "ben": 7.0, "cid": 30.0, "dan": 70.0}
CANBERRA = "The capital of Australia is Canberra."
AGAIN = "Canberra is the capital of Australia."
CAKE = "Baking a cake takes butter, sugar, flour and eggs, and forty minutes in the oven."


@pytest.fixture(scope="module", autouse=True)
def _embedder():
    """The embedder is loaded, as it is in a process that has routed something."""
    shared_embedder().embed("warm")


@pytest.fixture
def servers():
    """One server for each expert; each says the same in its words, and has its model in memory."""
    running = {}
    for slug in SLUGS:
        server = ScriptedServer([ScriptedModel(name=slug, capabilities=("completion", "tools"))]).start()
        server.loaded[slug] = Residency(context_length=4096)
        server.default_reply = Reply(content=CANBERRA, prompt_tokens=10, completion_tokens=5)
        running[slug] = server
    yield running
    for server in running.values():
        server.close()


@pytest.fixture
async def pool():
    client = UpstreamClient(Timeouts(connect=1, first_byte=5, idle=5))
    limits = Limits(wait=5.0, threshold=100, cooldown=0.3, outage=1.0)
    made = Pool(client, max_retries=0, limits=limits, load_seconds=5.0)
    yield made
    await made.aclose()


def expert(server, slug, *, kind=ServerKind.OLLAMA, price=0.0):
    address = ServerAddress(name=slug, kind=kind, base_url=server.url)
    made = Replica(server=address, embedded=False, model=slug, parameters=SIZES[slug], context_length=4096)
    return Expert(slug=slug, system_prompt=f"You are {slug}.", price_in=price, price_out=2 * price, replicas=(made,))


class Asked:
    """What came of asking several experts: the events, the answer, and what became of each part."""

    def __init__(self, several):
        self.several = several
        self.events = []

    async def run(self, request):
        async with aclosing(self.several.chat(request)) as events:
            async for event in events:
                self.events.append(event)
        return self

    @property
    def text(self):
        return "".join(event.content for event in self.events if isinstance(event, Delta))

    @property
    def speaker(self):
        return [event.expert.slug for event in self.events if isinstance(event, Attempt)][-1]

    @property
    def finish(self):
        assert isinstance(self.events[-1], Finish)
        return self.events[-1]

    @property
    def parts(self):
        return self.several.parts.parts

    @property
    def told(self):
        return [(str(part.role), part.expert, str(part.status)) for part in self.parts]


def several(pool, servers, *, mode=Mode.MIXTURE, members=SLUGS[:3], aggregator="dan", experts=None, **mixing):
    found = experts or {slug: expert(server, slug) for slug, server in servers.items()}
    plan = Plan(
        mode=mode,
        members=tuple(found[slug] for slug in members),
        aggregator=found[aggregator],
        mixing=Mixing(**({"patience": 0.3} | mixing)),
    )
    decision = Decision(id="dec_1", expert=plan.members[0], route="classifier", why="", plan=plan)
    return Asked(answering(pool, decision, plan, tenant="key"))


def cascade(pool, servers, **fields):
    return several(pool, servers, mode=Mode.CASCADE, **fields)


def work(server):
    return server.work_at("/api/chat")


def sure(text, *values):
    """Return a reply whose tokens have these log probabilities."""
    return Reply(content=[text], logprobs=values, prompt_tokens=10, completion_tokens=5)


class TestMixture:
    async def test_all_are_asked_at_once_and_one_makes_their_answers_one(self, pool, servers):
        for slug in SLUGS[:3]:
            servers[slug].reply(Reply(content=[CANBERRA], first_delay=0.3))
        servers["dan"].reply(Reply(content=["It is ", "Canberra."]))
        asked = await several(pool, servers).run(chat_request())
        arrived = [work(servers[slug])[0].received_at for slug in SLUGS[:3]]
        assert max(arrived) - min(arrived) < 0.3, "nobody waits for another one's answer"
        assert (asked.text, asked.speaker) == ("It is Canberra.", "dan")
        assert asked.told == [
            ("member", "ann", "answered"),
            ("member", "ben", "answered"),
            ("member", "cid", "answered"),
            ("aggregator", "dan", "answered"),
        ]
        assert asked.several.parts.agreement == 1.0

    async def test_the_aggregator_is_shown_the_conversation_and_all_answers(self, pool, servers):
        servers["ann"].reply(Reply(content=[AGAIN]))
        await several(pool, servers).run(chat_request())
        system, user = work(servers["dan"])[0].json["messages"]
        assert system["content"].startswith("You are dan.")
        assert AGAIN in system["content"]
        assert system["content"].count(CANBERRA) == 2
        assert user == {"role": "user", "content": "Hello"}

    async def test_each_member_gets_the_clients_request_and_its_own_prompt(self, pool, servers):
        await several(pool, servers).run(chat_request(temperature=0.5, max_tokens=70))
        for slug in SLUGS[:3]:
            sent = work(servers[slug])[0].json
            assert sent["messages"][0]["content"] == f"You are {slug}."
            assert sent["options"] == {"temperature": 0.5, "num_predict": 70}
            assert sent["logprobs"] is True
        assert work(servers["dan"])[0].json["options"] == {"temperature": 0.5, "num_predict": 70}

    async def test_probabilities_only_of_the_final_answer_and_only_for_who_wants_them(self, pool, servers):
        without = await several(pool, servers).run(chat_request())
        assert not any(event.logprobs for event in without.events if isinstance(event, Delta))
        servers["dan"].reply(Reply(content=["Yes"], logprobs=[-0.5]))
        asked = await several(pool, servers).run(chat_request(logprobs=True, top_logprobs=2))
        told = [entry for event in asked.events if isinstance(event, Delta) for entry in event.logprobs]
        assert [(entry["token"], entry["logprob"]) for entry in told] == [("Yes", -0.5)]
        assert len(told[0]["top_logprobs"]) == 2

    async def test_one_that_fails_is_left_out(self, pool, servers):
        servers["ben"].reply(Reply(status=500, error="out of memory"))
        asked = await several(pool, servers).run(chat_request())
        assert asked.speaker == "dan"
        assert [(part.expert, str(part.status), part.error) for part in asked.parts[:3]] == [
            ("ann", "answered", ""),
            ("ben", "failed", "upstream_error"),
            ("cid", "answered", ""),
        ]

    async def test_one_that_answers_nothing_has_failed(self, pool, servers):
        servers["ben"].reply(Reply(thinking=["Hm."], content=[" "]))
        asked = await several(pool, servers).run(chat_request())
        assert [part.error for part in asked.parts] == ["", "empty_answer", "", ""]

    async def test_half_of_them_are_waited_for_and_the_others_for_a_while(self, pool, servers):
        servers["cid"].reply(Reply(content=["a"] * 100, delay=0.2))
        began = time.monotonic()
        asked = await several(pool, servers, patience=0.3).run(chat_request())
        assert 0.3 < time.monotonic() - began < 8
        assert asked.told[2] == ("member", "cid", "too slow")
        assert await asyncio.to_thread(work(servers["cid"])[0].wait_disconnected)
        assert asked.parts[2].usage is None

    async def test_nobody_is_given_up_before_half_have_answered(self, pool, servers):
        for slug in ("ben", "cid"):
            servers[slug].reply(Reply(content=[AGAIN], first_delay=0.6))
        asked = await several(pool, servers, patience=0.1).run(chat_request())
        assert [status for _, _, status in asked.told[:3]].count("answered") >= 2

    async def test_the_only_answer_is_given_as_it_is(self, pool, servers):
        for slug in ("ann", "cid"):
            servers[slug].reply(Reply(status=500, error="out of memory"))
        servers["ben"].reply(Reply(thinking=["Hm."], content=["Can", "berra."]))
        asked = await several(pool, servers).run(chat_request())
        assert (asked.text, asked.speaker) == ("Canberra.", "ben")
        assert "".join(event.reasoning for event in asked.events if isinstance(event, Delta)) == "Hm."
        assert not work(servers["dan"])
        assert asked.finish.usage == asked.several.parts.usage

    async def test_without_any_answer_the_first_failure_is_told(self, pool, servers):
        servers["ann"].reply(Reply(status=500, error="out of cheese"))
        for slug in ("ben", "cid"):
            servers[slug].reply(Reply(status=500, error="out of memory"))
        asked = several(pool, servers)
        with pytest.raises(UpstreamFailed, match="cheese"):
            await asked.run(chat_request())
        assert [status for _, _, status in asked.told] == ["failed"] * 3

    async def test_where_nobody_answered_the_next_are_asked(self, pool, servers):
        for slug in ("ann", "ben"):
            servers[slug].reply(Reply(status=500, error="out of memory"))
        asked = await several(pool, servers, breadth=2).run(chat_request())
        assert (asked.text, asked.speaker) == (CANBERRA, "cid")

    async def test_replicas_of_a_member_are_tried_but_not_its_fallbacks(self, pool, servers):
        servers["ann"].reply(Reply(status=500, error="out of memory"))
        found = {slug: expert(server, slug) for slug, server in servers.items()}
        spare = replace(found["ann"].replicas[0], server=replace(found["dan"].replicas[0].server, name="spare"))
        servers["dan"].models.append(ScriptedModel(name="ann"))
        servers["dan"].loaded["ann"] = Residency(context_length=4096)
        found["ann"] = replace(found["ann"], replicas=(*found["ann"].replicas, spare), fallbacks=("dan",))
        asked = await several(pool, servers, members=("ann", "ben"), aggregator="cid", experts=found).run(
            chat_request()
        )
        assert (asked.parts[0].replica, str(asked.parts[0].status)) == ("ann@spare", "answered")
        assert asked.several.parts.expansions == 0

    async def test_tools_that_may_not_be_called_are_not_shown(self, pool, servers):
        await several(pool, servers).run(chat_request(tools=[tool()], tool_choice="none"))
        assert all("tools" not in work(server)[0].json for server in servers.values())


class TestAskingMore:
    async def test_nobody_else_while_they_agree_and_are_confident(self, pool, servers):
        servers["ann"].reply(sure(AGAIN, -0.1))
        asked = await several(pool, servers, breadth=2).run(chat_request())
        assert [expert for _, expert, _ in asked.told] == ["ann", "ben", "dan"]
        assert asked.several.parts.expansions == 0
        assert asked.several.parts.agreement > 0.6

    async def test_where_they_disagree(self, pool, servers):
        servers["ann"].reply(sure(CAKE, -0.1))
        asked = await several(pool, servers, breadth=2).run(chat_request())
        assert [expert for _, expert, _ in asked.told] == ["ann", "ben", "cid", "dan"]
        assert asked.several.parts.expansions == 1
        assert asked.several.parts.agreement < 0.6

    async def test_where_they_are_not_confident(self, pool, servers):
        servers["ann"].reply(sure(CANBERRA, -3.0))
        servers["ben"].reply(sure(CANBERRA, -2.0))
        asked = await several(pool, servers, breadth=2).run(chat_request())
        assert [expert for _, expert, _ in asked.told] == ["ann", "ben", "cid", "dan"]
        assert [round(part.confidence, 3) for part in asked.parts[:2]] == [0.05, 0.135]
        assert {part.signal for part in asked.parts[:2]} == {"logprobs"}

    async def test_at_most_twice_as_many_each_time(self, pool, servers):
        for server in servers.values():
            server.default_reply = sure(CAKE, -5.0)
        asked = await several(pool, servers, members=SLUGS, breadth=1, agreement=0, aggregator="ann").run(
            chat_request()
        )
        assert [expert for role, expert, _ in asked.told if role == "member"] == list(SLUGS)
        assert asked.several.parts.expansions == 2

    async def test_where_no_server_tells_probabilities_agreement_alone_counts(self, pool, servers):
        for slug in SLUGS[:2]:
            servers[slug].reply(Reply(body=untold(CANBERRA)))
        asked = await several(pool, servers, breadth=2).run(chat_request())
        assert [part.confidence for part in asked.parts[:2]] == [None, None]
        assert [expert for _, expert, _ in asked.told] == ["ann", "ben", "dan"]

    async def test_later_ones_do_not_hold_up_an_answer_that_is_there(self, pool, servers):
        servers["ann"].reply(sure(CAKE, -0.1))
        servers["cid"].reply(Reply(content=["a"] * 100, delay=0.2))
        asked = await several(pool, servers, breadth=2, patience=0.3).run(chat_request())
        assert asked.told[2] == ("member", "cid", "too slow")


def untold(text):
    """Return the lines of an Ollama server that knows no probabilities."""
    told = '{"model":"m","message":{"role":"assistant","content":"%s"},"done":%s}\n'
    return told % (text, "false") + told % ("", 'true,"done_reason":"stop","prompt_eval_count":10,"eval_count":5')


class TestAggregator:
    @pytest.mark.parametrize(
        "reply",
        [Reply(status=500, error="out of memory"), Reply(content=["a"], drop_after=0), Reply(content=[""])],
        ids=["refuses", "breaks off before the first piece", "says nothing"],
    )
    async def test_failing_leaves_the_most_confident_answer(self, pool, servers, reply):
        servers["ann"].reply(sure(CANBERRA, -0.4))
        servers["ben"].reply(sure(AGAIN, -0.05))
        servers["dan"].reply(reply)
        asked = await several(pool, servers).run(chat_request())
        assert (asked.text, asked.speaker) == (AGAIN, "ben")
        assert asked.told[-1] == ("aggregator", "dan", "failed")
        assert "the answer of ben is given as it is" in asked.several.parts.notes[0]

    async def test_where_nobody_tells_a_confidence_the_routed_experts_answer_counts(self, pool, servers):
        for slug, text in zip(SLUGS, (CANBERRA, AGAIN, AGAIN), strict=False):
            servers[slug].reply(Reply(body=untold(text)))
        servers["dan"].reply(Reply(status=500, error="out of memory"))
        asked = await several(pool, servers).run(chat_request())
        assert (asked.text, asked.speaker) == (CANBERRA, "ann")

    async def test_failing_in_the_middle_ends_the_answer(self, pool, servers):
        servers["dan"].reply(Reply(content=["It is ", "Canberra"], error_after=1))
        asked = several(pool, servers)
        with pytest.raises(UpstreamFailed):
            await asked.run(chat_request())
        assert asked.text == "It is "
        assert asked.told[-1] == ("aggregator", "dan", "failed")

    async def test_answers_too_long_for_its_window_are_cut_and_that_is_told(self, pool, servers):
        servers["ann"].reply(Reply(content=[f"{CANBERRA} " * 400]))
        asked = await several(pool, servers).run(chat_request())
        assert asked.told[0] == ("member", "ann", "cut")
        assert asked.told[1] == ("member", "ben", "answered")
        shown = work(servers["dan"])[0].json["messages"][0]["content"]
        assert " […]" in shown
        assert len(shown) < len(f"{CANBERRA} " * 400)

    async def test_a_window_without_room_leaves_the_best_answer(self, pool, servers):
        servers["dan"].loaded["dan"] = Residency(context_length=300)
        found = {slug: expert(server, slug) for slug, server in servers.items()}
        small = replace(found["dan"].replicas[0], num_ctx=300)
        found["dan"] = replace(found["dan"], replicas=(small,))
        asked = await several(pool, servers, experts=found).run(chat_request())
        assert asked.text == CANBERRA
        assert "has no room for the answers" in asked.several.parts.notes[0]
        assert not work(servers["dan"])

    async def test_its_profiles_words(self, pool, servers):
        await several(pool, servers, prompt="Take a vote.").run(chat_request())
        assert "Take a vote." in work(servers["dan"])[0].json["messages"][0]["content"]

    async def test_asked_once_more_only_the_aggregator_answers_again(self, pool, servers):
        asked = await several(pool, servers).run(chat_request())
        first = asked.finish.usage
        await asked.run(chat_request())
        assert [len(work(servers[slug])) for slug in SLUGS] == [1, 1, 1, 2]
        assert CANBERRA in work(servers["dan"])[1].json["messages"][0]["content"]
        assert first + asked.finish.usage == asked.several.parts.usage


class TestWhatItTook:
    async def test_the_tokens_of_all_parts_and_what_they_cost(self, pool, servers):
        counts = {"ann": (11, 2), "ben": (12, 3), "cid": (13, 4), "dan": (90, 5)}
        for slug, (read, written) in counts.items():
            servers[slug].reply(Reply(content=[CANBERRA], prompt_tokens=read, completion_tokens=written))
        found = {slug: expert(server, slug, price=1.0) for slug, server in servers.items()}
        asked = await several(pool, servers, experts=found).run(chat_request())
        usage = asked.finish.usage
        assert (usage.prompt_tokens, usage.completion_tokens) == (126, 14)
        assert [(part.usage.prompt_tokens, part.usage.completion_tokens) for part in asked.parts] == [*counts.values()]
        assert asked.several.parts.cost == pytest.approx((126 * 1.0 + 14 * 2.0) / 1_000_000)

    async def test_when_each_began_and_how_long_it_took(self, pool, servers):
        servers["ann"].reply(Reply(content=[CANBERRA, " Yes."], first_delay=0.2, delay=0.1))
        asked = await several(pool, servers).run(chat_request())
        ann, ben, _, dan = asked.parts
        assert ann.start < ann.first < ann.seconds
        assert ann.first >= 0.2
        assert ann.seconds >= 0.3
        assert ben.seconds < ann.seconds
        assert dan.start >= ann.seconds

    async def test_parts_come_before_the_answer_and_before_its_end(self, pool, servers):
        asked = await several(pool, servers).run(chat_request())
        kinds = [type(event).__name__ for event in asked.events if not isinstance(event, PromptCut)]
        assert kinds == ["Parts", "Attempt", "Delta", "Parts", "Finish"]
        first, last = (event for event in asked.events if isinstance(event, Parts))
        assert (len(first.parts), len(last.parts)) == (3, 4)


class TestCascade:
    async def test_a_confident_answer_goes_no_further(self, pool, servers):
        servers["ann"].reply(sure(CANBERRA, -0.1))
        asked = await cascade(pool, servers).run(chat_request())
        assert (asked.text, asked.speaker) == (CANBERRA, "ann")
        assert asked.told == [("step", "ann", "answered")]
        assert (asked.parts[0].signal, round(asked.parts[0].confidence, 3)) == ("logprobs", 0.905)
        assert asked.several.parts.expansions == 0

    async def test_one_that_is_not_goes_to_the_next(self, pool, servers):
        servers["ann"].reply(sure(CAKE, -2.0))
        servers["ben"].reply(sure(CANBERRA, -0.1))
        asked = await cascade(pool, servers).run(chat_request())
        assert (asked.text, asked.speaker) == (CANBERRA, "ben")
        assert [round(part.confidence, 3) for part in asked.parts] == [0.135, 0.905]
        assert asked.finish.usage.prompt_tokens == 20
        assert not work(servers["cid"])

    async def test_the_last_one_streams_as_it_comes(self, pool, servers):
        for slug in ("ann", "ben"):
            servers[slug].reply(sure(CAKE, -2.0))
        servers["cid"].reply(Reply(content=["It is ", "Canberra."], delay=0.4, logprobs=[-3.0, -3.0]))
        asked = cascade(pool, servers)
        async with aclosing(asked.several.chat(chat_request())) as events:
            async for event in events:
                if isinstance(event, Delta):
                    break
        assert event.content == "It is "
        assert not work(servers["cid"])[0].finished_at

    async def test_a_step_that_fails_goes_to_the_next(self, pool, servers):
        servers["ann"].reply(Reply(status=500, error="out of memory"))
        servers["ben"].reply(sure(CANBERRA, -0.1))
        asked = await cascade(pool, servers).run(chat_request())
        assert asked.speaker == "ben"
        assert asked.told[0] == ("step", "ann", "failed")

    async def test_where_the_last_one_fails_the_best_before_it_is_given(self, pool, servers):
        servers["ann"].reply(sure(CAKE, -2.0))
        servers["ben"].reply(sure(CANBERRA, -1.0))
        servers["cid"].reply(Reply(status=500, error="out of memory"))
        asked = await cascade(pool, servers).run(chat_request())
        assert (asked.text, asked.speaker) == (CANBERRA, "ben")
        assert "though it is not confident enough" in asked.several.parts.notes[0]

    async def test_where_all_fail_the_first_failure_is_told(self, pool, servers):
        servers["ann"].reply(Reply(status=500, error="out of cheese"))
        for slug in ("ben", "cid"):
            servers[slug].reply(Reply(status=500, error="out of memory"))
        with pytest.raises(UpstreamFailed, match="cheese"):
            await cascade(pool, servers).run(chat_request())

    @pytest.mark.parametrize(
        ("said", "speaker"),
        [('{"confidence": 0.9}', "ann"), ('{"confidence": 0.2}', "ben"), ("Very sure!", "ben")],
    )
    async def test_without_probabilities_the_expert_is_asked_how_sure_it_is(self, pool, servers, said, speaker):
        servers["ann"].reply(Reply(body=untold(CAKE)))
        servers["ann"].reply(Reply(content=[said], prompt_tokens=30, completion_tokens=6))
        servers["ben"].reply(sure(CANBERRA, -0.1))
        asked = await cascade(pool, servers).run(chat_request())
        assert asked.speaker == speaker
        assert asked.told[:2] == [("step", "ann", "answered"), ("self-check", "ann", "answered")]
        assert asked.parts[0].signal == "self-check"
        check = work(servers["ann"])[1].json
        assert check["messages"][-2] == {"role": "assistant", "content": CAKE}
        assert check["format"]["required"] == ["confidence"]

    async def test_a_self_check_that_takes_too_long_is_none(self, pool, servers):
        servers["ann"].reply(Reply(body=untold(CAKE)))
        servers["ann"].reply(Reply(content=["x"] * 50, delay=0.2))
        asked = await cascade(pool, servers, patience=0.3).run(chat_request())
        assert asked.told[1] == ("self-check", "ann", "too slow")
        assert asked.parts[0].confidence is None
        assert asked.speaker == "ben"

    async def test_llama_cpp_tells_probabilities_too(self, pool, servers):
        servers["ann"].reply(sure(CANBERRA, -0.1))
        found = {slug: expert(server, slug) for slug, server in servers.items()}
        found["ann"] = expert(servers["ann"], "ann", kind=ServerKind.OPENAI)
        asked = await cascade(pool, servers, experts=found).run(chat_request())
        assert asked.speaker == "ann"
        assert round(asked.parts[0].confidence, 3) == 0.905

    async def test_asked_once_more_who_spoke_answers_again(self, pool, servers):
        servers["ann"].reply(sure(CANBERRA, -0.1))
        asked = await cascade(pool, servers).run(chat_request())
        await asked.run(chat_request())
        assert [len(work(servers[slug])) for slug in SLUGS[:2]] == [2, 0]


class TestStopping:
    async def stopped(self, asked, *busy):
        """Run until these servers have work, then leave; return how long leaving took."""
        running = asyncio.create_task(asked.run(chat_request()))
        for server in busy:
            await asyncio.to_thread(server.wait_for_work, "/api/chat")
        began = time.monotonic()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        return time.monotonic() - began

    async def test_while_members_answer(self, pool, servers):
        for slug in SLUGS[:3]:
            servers[slug].reply(Reply(content=["a"] * 400, delay=0.05))
        asked = several(pool, servers)
        assert await self.stopped(asked, *(servers[slug] for slug in SLUGS[:3])) < 10
        for slug in SLUGS[:3]:
            assert await asyncio.to_thread(work(servers[slug])[0].wait_disconnected)
        assert [status for _, _, status in asked.told] == ["cancelled"] * 3
        assert not work(servers["dan"])

    async def test_while_the_aggregator_speaks(self, pool, servers):
        servers["dan"].reply(Reply(content=["a"] * 400, delay=0.05))
        asked = several(pool, servers)
        assert await self.stopped(asked, servers["dan"]) < 10
        assert await asyncio.to_thread(work(servers["dan"])[0].wait_disconnected)
        assert asked.told[-1] == ("aggregator", "dan", "cancelled")
        assert asked.several.parts.usage.prompt_tokens == 30

    async def test_closing_instead_of_cancelling(self, pool, servers):
        servers["dan"].reply(Reply(content=["a"] * 400, delay=0.05))
        asked = several(pool, servers)
        async with aclosing(asked.several.chat(chat_request())) as events:
            async for event in events:
                if isinstance(event, Delta):
                    break
        assert await asyncio.to_thread(work(servers["dan"])[0].wait_disconnected)
        assert asked.told[-1] == ("aggregator", "dan", "cancelled")

    async def test_while_a_step_answers(self, pool, servers):
        servers["ann"].reply(Reply(content=["a"] * 400, delay=0.05))
        asked = cascade(pool, servers)
        assert await self.stopped(asked, servers["ann"]) < 10
        assert await asyncio.to_thread(work(servers["ann"])[0].wait_disconnected)
        assert asked.told == [("step", "ann", "cancelled")]
