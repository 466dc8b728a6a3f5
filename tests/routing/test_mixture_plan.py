"""Whether several experts answer, and which. Pure."""

from dataclasses import replace

import pytest

from routing.backends.protocol import ServerAddress, ServerKind
from routing.catalog import Catalog, Expert, Mixing, Mode, Profile, Replica
from routing.decision import Candidate, Decision
from routing.judging import Outcome
from routing.mixture.plan import alone, planned
from tests.requests import HELLO, chat_request, tool, tool_turn

TOLD = {"role": "tool", "content": "7", "tool_call_id": "1"}
ADDRESS = ServerAddress(name="gpu", kind=ServerKind.OLLAMA, base_url="http://gpu")
SYSTEM = {"role": "system", "content": "Be brief."}


def expert(slug, size=7.0, *, model=None, prompt="", sees=False):
    capabilities = frozenset({"completion", "vision"} if sees else {"completion"})
    replica = Replica(server=ADDRESS, embedded=False, model=model or slug, parameters=size, capabilities=capabilities)
    return Expert(slug=slug, system_prompt=prompt or f"You are {slug}.", replicas=(replica,))


SHELF = {one.slug: one for one in (expert("small", 1), expert("medium", 7), expert("big", 30), expert("huge", 70))}


def plan_of(mode=Mode.MIXTURE, *, routed="medium", shelf=None, request=None, fields=None, **mixing):
    """Return the decision as it is planned for a profile of such a ``mode``."""
    shelf = SHELF if shelf is None else shelf
    profile = Profile(slug="moe", mode=mode, mixing=Mixing(**mixing))
    given = {"route": "classifier"} | (fields or {})
    decision = Decision(id="dec_1", expert=profile.lends(shelf[routed]), why="", profile=profile, **given)
    catalog = Catalog(experts=SHELF | shelf, models={}, rules=(), default=None)
    return planned(decision, request or chat_request(model="moe"), shelf, catalog)


def members(decision):
    return [one.slug for one in decision.plan.members] if decision.plan else None


def candidates(**probabilities):
    return tuple(Candidate(expert=slug, probability=value, utility=value) for slug, value in probabilities.items())


class TestMixture:
    def test_who_would_answer_alone_is_first_then_the_strongest(self):
        assert members(plan_of()) == ["medium", "huge", "big", "small"]

    def test_the_classifiers_candidates_come_before_the_others(self):
        fields = {"candidates": candidates(medium=0.4, small=0.35, big=0.25)}
        assert members(plan_of(fields=fields)) == ["medium", "small", "big", "huge"]

    def test_no_more_than_may_be_asked(self):
        assert members(plan_of(breadth=2, breadth_most=3)) == ["medium", "huge", "big"]

    def test_the_same_model_told_the_same_counts_once(self):
        same = expert("twin", model="medium", prompt="You are medium.")
        assert "twin" not in members(plan_of(shelf=SHELF | {"twin": same}))

    def test_the_same_model_told_otherwise_is_another_expert(self):
        other = expert("poet", model="medium", prompt="You are a poet.")
        assert "poet" in members(plan_of(shelf=SHELF | {"poet": other}))

    @pytest.mark.parametrize(
        ("request_fields", "decision_fields"),
        [
            ({"messages": [SYSTEM, HELLO]}, {}),
            ({}, {"outcome": Outcome(system=(("append", "Be kind."),))}),
        ],
        ids=["the client says what", "a rule says what"],
    )
    def test_where_all_are_told_the_same_only_the_model_counts(self, request_fields, decision_fields):
        other = expert("poet", model="medium", prompt="You are a poet.")
        request = chat_request(model="moe", **request_fields)
        decision = plan_of(shelf=SHELF | {"poet": other}, request=request, fields=decision_fields)
        assert members(decision) == ["medium", "huge", "big", "small"]

    def test_rules_may_leave_experts_out(self):
        fields = {"outcome": Outcome(candidates=frozenset({"medium", "small"}))}
        assert members(plan_of(fields=fields)) == ["medium", "small"]

    def test_members_answer_as_the_profile_has_it(self):
        profile = Profile(slug="moe", mode=Mode.MIXTURE, system_prompt="One for all.", defaults={"temperature": 0})
        decision = Decision(id="1", expert=profile.lends(SHELF["big"]), route="rule", why="", profile=profile)
        catalog = Catalog(experts=SHELF, models={}, rules=(), default=None)
        found = planned(decision, chat_request(model="moe"), SHELF, catalog)
        assert {(one.system_prompt, one.defaults["temperature"]) for one in found.plan.members} == {("One for all.", 0)}

    def test_the_aggregator_is_the_profiles_or_who_would_answer_alone(self):
        assert plan_of().plan.aggregator.slug == "medium"
        assert plan_of(aggregator="huge").plan.aggregator.slug == "huge"

    @pytest.mark.parametrize("aggregator", ["gone", "blind"])
    def test_an_aggregator_that_cannot_do_it_is_replaced_and_that_is_told(self, aggregator):
        seeing = {slug: expert(slug, sees=True) for slug in ("medium", "other")}
        fields = {"needs": frozenset({"vision"})}
        decision = plan_of(shelf=seeing, aggregator=aggregator, fields=fields)
        assert decision.plan.aggregator.slug == "medium"
        assert f"the aggregator {aggregator} cannot take it" in decision.skipped[0]


class TestCascade:
    def test_from_the_smallest_to_the_largest(self):
        assert members(plan_of(Mode.CASCADE)) == ["small", "medium", "big", "huge"]

    @pytest.mark.parametrize("route", ["rule", "held"])
    def test_who_was_chosen_otherwise_begins_and_only_larger_ones_follow(self, route):
        assert members(plan_of(Mode.CASCADE, fields={"route": route})) == ["medium", "big", "huge"]

    def test_the_ends_stay_where_it_is_too_long(self):
        fields = {"candidates": candidates(big=0.6, medium=0.4)}
        decision = plan_of(Mode.CASCADE, routed="big", breadth=2, breadth_most=3, fields=fields)
        assert members(decision) == ["small", "big", "huge"]

    def test_the_same_model_is_not_asked_again_whatever_it_is_told(self):
        poet = expert("poet", 1, model="small", prompt="You are a poet.")
        decision = plan_of(Mode.CASCADE, routed="poet", shelf=SHELF | {"poet": poet})
        assert members(decision) == ["poet", "medium", "big", "huge"]

    def test_the_largest_has_nobody_to_go_to(self):
        decision = plan_of(Mode.CASCADE, routed="huge", fields={"route": "rule"})
        assert decision.plan is None
        assert decision.skipped == ("cascade: no larger expert than the one that would answer alone can take it",)


class TestOneAnswers:
    def test_an_ordinary_profile_is_left_as_it_is(self):
        decision = plan_of(Mode.ROUTE)
        assert (decision.plan, decision.skipped) == (None, ())

    @pytest.mark.parametrize(
        ("request_fields", "decision_fields", "why"),
        [
            ({"tools": [tool()]}, {}, "tools"),
            (
                {"messages": [HELLO, tool_turn(("1", "f", "{}")), TOLD]},
                {},
                "tools",
            ),
            ({}, {"task": "title"}, "background job"),
        ],
        ids=["tools", "a tool loop", "a background job"],
    )  # fmt: skip
    @pytest.mark.parametrize("mode", [Mode.MIXTURE, Mode.CASCADE])
    def test_and_the_decision_says_why(self, mode, request_fields, decision_fields, why):
        decision = plan_of(mode, request=chat_request(model="moe", **request_fields), fields=decision_fields)
        assert decision.plan is None
        assert decision.skipped[0].startswith(f"{mode}: ")
        assert why in decision.skipped[0]
        assert decision.explained()["mixture"] is None

    def test_tools_that_may_not_be_called_are_none(self):
        assert plan_of(request=chat_request(model="moe", tools=[tool()], tool_choice="none")).plan

    def test_one_expert_is_no_mixture(self):
        decision = plan_of(shelf={"medium": SHELF["medium"]})
        assert decision.plan is None
        assert decision.skipped == ("mixture: fewer than two experts can take it",)

    def test_what_can_only_be_done_by_one(self):
        decision = plan_of()
        one = alone(decision, "a text completion is made by one expert")
        assert one.plan is None
        assert one.skipped == ("mixture: a text completion is made by one expert",)
        ordinary = replace(decision, plan=None)
        assert alone(ordinary, "whatever") is ordinary


def test_the_decision_shows_the_plan():
    assert plan_of(breadth=2).explained()["mixture"] == {
        "mode": "mixture",
        "members": ["medium", "huge", "big", "small"],
        "aggregator": "medium",
        "breadth": 2,
        "agreement": 0.6,
        "confidence": 0.6,
    }
    assert plan_of(Mode.CASCADE).explained()["mixture"] == {
        "mode": "cascade",
        "members": ["small", "medium", "big", "huge"],
        "confidence": 0.6,
    }
