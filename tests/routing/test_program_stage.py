"""The program's place in a decision: asked where rules and classifier leave a doubt, and nowhere else."""

import random
from dataclasses import replace

import pytest

from routing.catalog import AUTO, Profile
from routing.features import Asker
from routing.router import Router
from routing.rules import Rule
from tests.requests import chat_request
from tests.routing.program_answers import ORDERS, odd_answers
from tests.routing.program_shelf import EXPERTS, deciding, judging, new_pool, program, replica, says, shelf
from tests.routing.test_router import Says
from tests.scripted import Reply

SUM = "What is 2 + 2?"
UNSURE = {"code": 0.4, "math": 0.35, "writing": 0.25}
DAY = Asker(key="k", tenant="t")


@pytest.fixture
def server():
    with judging() as server:
        yield server


@pytest.fixture
async def pool():
    pool = new_pool()
    yield pool
    await pool.aclose()


@pytest.fixture
async def stage(server, pool):
    """Return what decides on messages: by a classifier that is unsure, then by the program."""
    runs = replica(server)
    catalog = shelf(runs, **{slug: replace(expert, replicas=(runs,)) for slug, expert in EXPERTS.items()})
    catalog = replace(catalog, experts={slug: catalog.experts[slug] for slug in (*EXPERTS, "judge")})
    return await Stage(catalog, pool).loaded()


class Stage:
    def __init__(self, catalog, pool):
        self.catalog, self.pool = catalog, pool
        self.profile = Profile(slug=AUTO, experts=frozenset(EXPERTS))
        self.rules = ()
        self.classifying = Says(**UNSURE)
        self.deciding = None
        self.held = Router().held

    async def loaded(self, **fields):
        self.deciding = deciding(self.pool, self.catalog, program(**fields))
        await self.deciding.warm()
        return self

    async def __call__(self, *messages, **fields):
        """Return the decision on a conversation, of which every other message is the assistant's."""
        catalog = replace(self.catalog, rules=self.rules, profiles={AUTO: self.profile})
        router = Router(classifying=self.classifying, deciding=self.deciding, held=self.held)
        turns = [
            {"role": "assistant" if place % 2 else "user", "content": text}
            for place, text in enumerate(messages or (SUM,))
        ]
        return await router.decide(chat_request(**({"messages": turns} | fields)), catalog, asker=DAY)


def asked(server):
    return server.work_at("/api/chat")


async def test_where_the_classifier_is_unsure_the_program_decides_and_says_why(stage):
    decision = await stage()
    assert (decision.expert.slug, decision.route, decision.sure) == ("math", "program", True)
    assert decision.why == "the program chooses math 80%: a sum is asked for"
    assert decision.confidence == 0.8
    assert [one.expert for one in decision.candidates] == ["code", "math", "writing"]
    assert [one.name for one in decision.stages][-2:] == ["classifier", "program"]
    assert decision.stages[-1].result == "math 80%"
    told = decision.explained()["program"]
    assert told.pop("milliseconds") > 0
    assert told == {
        "version": 7,
        "expert": "math",
        "confidence": 0.8,
        "reason": "a sum is asked for",
        "accepted": True,
        "why_not": "",
        "remembered": False,
    }


async def test_where_the_classifier_knows_nothing_the_program_decides(stage):
    stage.classifying = Says(code=0.1, math=0.1, writing=0.1)
    assert (await stage()).route == "program"
    stage.classifying = None
    decision = await stage("And without one?")
    assert (decision.expert.slug, decision.route) == ("math", "program")
    assert decision.skipped == ("classifier: left out",)


async def test_nobody_asks_it_where_the_classifier_is_sure(stage, server):
    stage.classifying = Says(code=0.9, math=0.1)
    decision = await stage()
    assert (decision.expert.slug, decision.route, decision.program) == ("code", "classifier", None)
    assert decision.explained()["program"] is None
    assert not asked(server)


async def test_nobody_asks_it_for_a_profile_without_it(stage, server):
    stage.profile = replace(stage.profile, asks_program=False)
    assert (await stage()).route == "classifier"
    assert not asked(server)


async def test_nobody_asks_it_where_a_rule_chooses(stage, server):
    stage.rules = (Rule(id=1, name="sums", priority=1, expert="writing", keywords=("2 + 2",)),)
    assert (await stage()).route == "rule"
    assert not asked(server)


async def test_nobody_asks_it_for_background_jobs(stage, server):
    decision = await stage("### Task:\nSuggest 3-5 relevant follow-up questions")
    assert decision.route == "task"
    assert not asked(server)


async def test_nobody_asks_it_where_there_is_nothing_to_choose(stage, server):
    stage.profile = replace(stage.profile, experts=frozenset({"code"}))
    assert (await stage()).expert.slug == "code"
    assert not asked(server)


async def test_among_a_rules_candidates_it_chooses_one_of_those(stage, server):
    stage.rules = (Rule(id=1, name="either", priority=1, candidates=("code", "writing"), keywords=("2 + 2",)),)
    stage.classifying = Says(code=0.34, math=0.33, writing=0.33)
    server.default_reply = says("writing")
    decision = await stage()
    assert (decision.expert.slug, decision.route) == ("writing", "program")
    assert asked(server)[0].json["format"]["properties"]["expert"]["enum"] == ["code", "writing"]


async def test_it_keeps_the_conversation_it_was_given(stage, server):
    stage.classifying = Says(code=0.4, math=0.3, writing=0.3)
    assert (await stage(SUM)).route == "program"
    decision = await stage(SUM, "4", "And twice that?")
    assert (decision.expert.slug, decision.route) == ("math", "held")
    assert len(asked(server)) == 1


async def test_earlier_turns_are_shown_to_it(stage, server):
    await stage("Sort a list in Python", "Here.", "And in Rust?")
    text = asked(server)[0].json["messages"][-1]["content"]
    assert text == "<conversation>\nEarlier: Sort a list in Python\nAnd in Rust?\n</conversation>"


@pytest.mark.parametrize(
    ("reply", "fields", "result"),
    [
        (says("math", 0.3), {"accept_from": 0.5}, "math 30%, not followed: its confidence is under 50%"),
        (Reply(status=500, error="boom"), {}, "skipped: The model server 'box' failed: boom"),
        (Reply(load_delay=30), {"time_limit": 0.2}, "skipped: it took longer than 0.2 s"),
        (Reply(content=["none"]), {}, "skipped: its answer names none of the experts that may be chosen"),
    ],
    ids=["little confidence", "an error", "too late", "no answer"],
)
async def test_where_it_does_not_help_the_classifiers_guess_stands(stage, server, reply, fields, result):
    await stage.loaded(**fields)
    server.default_reply = reply
    decision = await stage()
    assert (decision.expert.slug, decision.route, decision.sure) == ("code", "classifier", False)
    assert decision.confidence == pytest.approx(0.4)
    assert decision.explained()["program"]["why_not"] == result.split(": ", 1)[1]
    assert decision.stages[-1].result == result
    assert bool(decision.skipped) is result.startswith("skipped")


async def test_without_an_active_program_a_decision_does_not_speak_of_it(stage, server, pool):
    stage.deciding = deciding(pool, stage.catalog, None)
    decision = await stage()
    assert (decision.route, decision.program, decision.skipped) == ("classifier", None, ())
    assert "program" not in [one.name for one in decision.stages]


async def test_a_thousand_odd_answers_to_messages_that_give_orders_choose_a_permitted_expert_or_none(stage, server):
    rng = random.Random(60)
    answers = odd_answers(1000, rng, (*EXPERTS, "judge"))  # judge exists, and is not one of the profile's
    server.default_reply = lambda request: Reply(content=[next(answers)])
    by_program = 0
    for number in range(1000):
        wanted = rng.choice(("judge", "admin", "auto", "math"))
        decision = await stage(f"{number}. {rng.choice(ORDERS).format(wanted)}")
        assert decision.expert.slug in EXPERTS
        assert decision.route in ("program", "classifier")
        by_program += decision.route == "program"
        if decision.route == "classifier":
            assert (decision.expert.slug, decision.program.verdict) == ("code", None)
    assert 100 < by_program < 900
