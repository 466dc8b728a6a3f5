"""Corrections become proposals, proposals become rules or examples, and each says what it did."""

import io
import json

import pytest
from django.core.management import call_command
from django.utils import timezone

from routing import classifying, evaluation, versions
from routing.catalog import load
from routing.conversations import Held
from routing.evaluation import classifying_of
from routing.journal import records_sweep
from routing.learning import noticing, proposing
from routing.learning.feedback import feedback_give
from routing.learning.kinds import SEVERAL, grouped
from routing.learning.proposing import NotDecided, changes_propose, proposal_accept, proposal_dismiss
from routing.models import DecisionRecord, Expert, Feedback, ModelServer, Proposal, Replica, RouteExample, RoutingRule
from routing.router import Router
from routing.versions import version_train
from tests.requests import chat_request
from tests.routing.test_classifier import TOPICS, examples
from tests.routing.test_classifying import Embedder

pytestmark = pytest.mark.django_db

FISH = [f"Tell me about the zebrafish and {topic}" for topic in ("love", "rain", "tea", "war", "gold", "sleep")] + [
    "Why has a zebrafish stripes",
    "My zebrafish is hungry",
    "zebrafish for beginners",
    "How old is the oldest zebrafish?",
]


@pytest.fixture(autouse=True)
def _embedder(monkeypatch, tmp_path, settings):
    settings.MOE_DATA_DIR = tmp_path
    for module in (versions, evaluation):
        monkeypatch.setattr(module, "shared_embedder", Embedder)


@pytest.fixture(autouse=True)
def experts():
    server = ModelServer.objects.create(name="box", base_url="http://box:11434")
    rows = {}
    for slug in ("general", "writing", "translation", "code"):
        rows[slug] = Expert.objects.create(slug=slug, name=slug.title(), is_default=slug == "general")
        Replica.objects.create(expert=rows[slug], server=server, model="m")
    for row in examples():
        RouteExample.objects.create(prompt=row.prompt, expert=rows[row.expert])
    return rows


@pytest.fixture
def decided(experts):
    """Return what makes a decision that was kept, by its prompt."""
    numbers = iter(range(1, 10_000))

    def make(prompt, expert="general", **fields):
        values = {"created_at": timezone.now(), "asked": "auto", "route": "default", "why": {"needs": []}}
        return DecisionRecord.objects.create(
            id=f"dec_{next(numbers):032x}", prompt=prompt, expert=expert, **(values | fields)
        )

    return make


@pytest.fixture
def corrected(experts, decided):
    """Return what makes corrections of kept decisions."""

    def make(prompts, expert="code", was="general", **how):
        return [
            feedback_give(
                record=decided(prompt, was),
                rating=-1,
                expert=experts[expert],
                **({"source": Feedback.Source.API, "key_name": "web"} | how),
            )
            for prompt in prompts
        ]

    return make


async def _ask(router, catalog, *turns):
    messages = []
    for turn in turns:
        messages += [{"role": "user", "content": turn}, {"role": "assistant", "content": "…"}]
    return await router.decide(chat_request(model="auto", messages=messages[:-1]), catalog)


def ask(*turns, router=None):
    from asgiref.sync import async_to_sync

    router = router or Router(classifying=classifying_of(classifying.load()))
    return async_to_sync(_ask, force_new_loop=True)(router, load(), *turns)


class TestGiving:
    def test_the_last_word_of_a_sender_counts(self, decided, experts):
        record = decided("Fix it")
        api = {"source": Feedback.Source.API, "key_name": "web"}
        feedback_give(record=record, rating=1, **api)
        feedback_give(record=record, rating=-1, expert=experts["code"], comment="No", **api)
        feedback_give(record=record, rating=1, source=Feedback.Source.API, key_name="other")
        said = Feedback.objects.get(key_name="web")
        assert (said.rating, said.expert, said.comment, said.was) == (-1, experts["code"], "No", "general")
        assert said.is_learnable
        assert Feedback.objects.count() == 2

    def test_a_text_is_taken_from_the_decision_or_with_the_senders_consent(self, decided, experts):
        how = {"rating": -1, "expert": experts["code"], "source": Feedback.Source.API}
        assert feedback_give(record=decided("Kept"), prompt="Other", **how).prompt == "Kept"
        assert feedback_give(record=decided(""), prompt="Given", **how).prompt == "Given"
        assert not feedback_give(record=decided(""), **how).is_learnable

    def test_a_background_job_teaches_nothing(self, decided, experts):
        record = decided("### Task: a title", route="task")
        said = feedback_give(record=record, rating=-1, expert=experts["code"], source=Feedback.Source.API)
        assert (said.prompt, said.is_learnable) == ("", False)

    def test_another_correction_leaves_the_proposal_it_was_in(self, corrected, experts):
        said = corrected(FISH)[0]
        changes_propose()
        record = DecisionRecord.objects.get(pk=said.decision)
        again = {"record": record, "rating": -1, "source": Feedback.Source.API, "key_name": "web"}
        assert feedback_give(expert=experts["code"], **again).proposal is not None
        assert feedback_give(expert=experts["writing"], **again).proposal is None

    def test_it_is_kept_no_longer_than_decisions_are(self, corrected, settings):
        corrected(FISH[:2])
        Feedback.objects.filter(prompt=FISH[0]).update(created_at=timezone.now() - timezone.timedelta(days=40))
        settings.DECISION_RETENTION_DAYS = 30
        records_sweep()
        assert [row.prompt for row in Feedback.objects.all()] == [FISH[1]]


class TestRules:
    def test_ten_corrections_of_one_kind_are_one_proposal_with_its_effect(self, corrected, decided):
        version_train()
        decided("The zebrafish and the sea")
        decided("How are you today?")
        decided("Named it myself", route="explicit", asked="code")
        corrected(FISH)
        outcome = changes_propose()
        proposal = Proposal.objects.get()
        assert outcome.proposals == (proposal,)
        assert (proposal.kind, proposal.was, proposal.expert.slug) == ("rule", "general", "code")
        assert proposal.content["keywords"] == ["zebrafish"]
        assert "“zebrafish” in the instruction" in proposal.summary
        assert proposal.corrections.count() == 10
        effect = proposal.effect
        assert (effect["decisions"], effect["left_out"]) == (12, {"asked for by name": 1})
        assert effect["changed"] == sum(move["count"] for move in effect["moves"]) >= 10
        assert {move["to"] for move in effect["moves"]} == {"code"}
        assert sum(move["corrected"] for move in effect["moves"]) >= 10 - effect["before"]["parts"]["own"]["right"]
        assert effect["after"]["parts"]["own"]["right"] == 10 > effect["before"]["parts"]["own"]["right"]
        assert effect["paired"]["gained"] > 0
        assert not effect["worse"]

    def test_nine_are_too_few(self, corrected):
        corrected(FISH[:9])
        assert changes_propose().proposals == ()
        corrected(FISH[9:])
        assert len(changes_propose().proposals) == 1

    def test_of_different_kinds_are_not_one_kind(self, corrected):
        corrected(FISH[:5], "code")
        corrected(FISH[5:], "writing")
        assert changes_propose().proposals == ()

    def test_those_of_several_experts_are_one_kind_where_no_expert_has_enough(self, corrected):
        corrected(FISH[:5], was="general")
        corrected(FISH[5:], was="writing")
        (proposal,) = changes_propose().proposals
        assert (proposal.was, proposal.corrections.count()) == ("several experts", 10)
        corrected(["Where do I find a zebrafish?"], was="translation")
        (same,) = changes_propose().proposals
        assert (same.pk, same.corrections.count()) == (proposal.pk, 11)

    def test_accepting_changes_routing_and_is_measured_before_and_after(self, corrected, admin_user):
        version_train()
        corrected(FISH)
        changes_propose()
        asked = "What eats a zebrafish?"
        assert ask(asked).route != "rule"
        proposal = Proposal.objects.get()
        accepted = proposal_accept(proposal, user=admin_user, signature=proposal.signature, reason="Yes.")
        decision = ask(asked)
        assert (decision.expert.slug, decision.route) == ("code", "rule")
        accepted.refresh_from_db()
        assert (accepted.status, accepted.decided_by, accepted.reason) == ("accepted", admin_user, "Yes.")
        assert accepted.rule == RoutingRule.objects.get()
        assert accepted.rule.name == "Corrections: “zebrafish” in the instruction → code"
        before, after = accepted.before["all"], accepted.after["all"]
        assert before["count"] == after["count"] == 10
        assert (before["right"], after["right"]) == (accepted.effect["before"]["all"]["right"], 10)
        assert after["interval"][0] > 0.6
        assert changes_propose().proposals == ()

    def test_a_held_conversation_is_not_moved(self, corrected, admin_user):
        version_train()
        corrected(FISH)
        changes_propose()
        router = Router(classifying=classifying_of(classifying.load()), held=Held())
        first = f"Write a short poem about {TOPICS[0]}"
        assert ask(first, router=router).expert.slug == "writing"
        assert ask(first, "And a zebrafish?", router=router).route == "held"
        proposal = Proposal.objects.get()
        proposal_accept(proposal, user=admin_user, signature=proposal.signature)
        held = ask(first, "And a zebrafish?", "Another zebrafish", router=router)
        assert (held.expert.slug, held.route) == ("writing", "held")
        assert ask("Another zebrafish", router=router).expert.slug == "code"

    def test_a_rule_comes_before_the_one_that_decided_wrongly(self, experts, corrected, admin_user):
        RoutingRule.objects.create(name="Fish", keywords=["zebrafish"], expert=experts["writing"], priority=50)
        corrected(FISH, was="writing")
        changes_propose()
        proposal = Proposal.objects.get()
        assert proposal.content["priority"] == 49
        assert proposal.effect["changed"] == 10
        proposal_accept(proposal, user=admin_user, signature=proposal.signature)
        assert ask("A zebrafish").expert.slug == "code"

    def test_dismissing_is_remembered(self, corrected, admin_user):
        corrected(FISH)
        changes_propose()
        proposal = Proposal.objects.get()
        proposal_dismiss(proposal, user=admin_user, signature=proposal.signature, reason="Not now.")
        assert changes_propose().proposals == ()
        assert not RoutingRule.objects.exists()
        corrected([f"{prompt} please" for prompt in FISH])
        (other,) = changes_propose().proposals
        assert other.signature != proposal.signature
        assert other.corrections.count() == 10
        proposal.refresh_from_db()
        assert (proposal.status, proposal.reason) == ("dismissed", "Not now.")

    def test_further_corrections_join_the_one_that_waits(self, corrected, admin_user):
        corrected(FISH)
        changes_propose()
        seen = Proposal.objects.get()
        assert changes_propose().proposals == ()
        corrected(["Is a zebrafish a horse?"])
        (joined,) = changes_propose().proposals
        assert joined.pk == seen.pk
        assert joined.corrections.count() == 11
        assert joined.effect["decisions"] == 11

    def test_what_changed_since_it_was_looked_at_is_not_accepted(self, corrected, admin_user):
        corrected(FISH)
        changes_propose()
        seen = Proposal.objects.get()
        Proposal.objects.update(signature="x")
        with pytest.raises(NotDecided, match="once more"):
            proposal_accept(seen, user=admin_user, signature=seen.signature)
        with pytest.raises(NotDecided, match="once more"):
            proposal_dismiss(seen, user=admin_user, signature=seen.signature)
        proposal_dismiss(seen, user=admin_user, signature="x")
        with pytest.raises(NotDecided, match="dismissed already"):
            proposal_accept(seen, user=admin_user, signature="x")
        assert not RoutingRule.objects.exists()

    def test_one_that_is_decided_on_while_it_is_measured_anew_stays_as_it_is(self, corrected, admin_user, monkeypatch):
        corrected(FISH)
        changes_propose()
        proposal = Proposal.objects.get()
        corrected(["One more zebrafish"])

        def dismissed_meanwhile(change):
            proposal_dismiss(proposal, user=admin_user, signature=proposal.signature)
            return {}

        monkeypatch.setattr(proposing, "_effect", dismissed_meanwhile)
        assert changes_propose().proposals == ()
        assert Proposal.objects.get().status == "dismissed"
        assert Feedback.objects.get(proposal=None).prompt == "One more zebrafish"

    def test_a_proposal_goes_with_its_last_correction(self, corrected):
        corrected(FISH)
        changes_propose()
        Feedback.objects.all().delete()
        assert "no correction speaks for it" in changes_propose().messages[0]
        assert not Proposal.objects.exists()

    def test_a_rule_that_is_in_force_is_not_proposed_again(self, corrected, admin_user):
        corrected(FISH)
        changes_propose()
        proposal = Proposal.objects.get()
        proposal_accept(proposal, user=admin_user, signature=proposal.signature)
        corrected([f"{prompt} now" for prompt in FISH])
        assert all(one.signature != proposal.signature for one in changes_propose().proposals)

    def test_nothing_is_proposed_where_it_is_turned_off(self, corrected, settings):
        settings.PROPOSAL_CORRECTIONS = 0
        corrected(FISH)
        assert changes_propose().proposals == ()
        assert noticing.load() == ""


MIXED = [
    *("Sum up the quarter", "Our margins fell, why", "Forecast next year", "Who owes us money", "Balance the books"),
    *("Pay the invoice", "Explain depreciation", "What is EBITDA", "Chart our costs", "Is the audit due"),
]


class TestExamples:
    def test_what_no_condition_describes_is_learnt(self, corrected, admin_user):
        first = version_train().version
        corrected(MIXED)
        changes_propose()
        proposal = Proposal.objects.get()
        assert (proposal.kind, proposal.summary.split()[:4]) == ("examples", ["Learn", "10", "corrected", "prompts"])
        assert {"before", "after", "paired"} <= proposal.effect.keys()
        assert not set(MIXED) & {str(value) for value in (proposal.content | proposal.effect).values()}
        accepted = proposal_accept(proposal, user=admin_user, signature=proposal.signature)
        assert RouteExample.objects.filter(source="corrected", expert__slug="code").count() == 10
        assert accepted.before["all"]["count"] == 10
        assert accepted.after == {}
        assert changes_propose().messages == (), "the classifier was not trained yet"
        second = version_train().version
        assert second.pk != first.pk
        assert noticing.load()
        changes_propose()
        accepted.refresh_from_db()
        assert accepted.after["classifier"] == second.pk
        assert accepted.after["all"]["right"] > accepted.before["all"]["right"]
        assert noticing.load() == ""

    def test_its_own_corrections_are_measured_by_who_has_not_learnt_them(self, corrected):
        """They look like what another expert does: that each is known once learnt says nothing of the next."""
        version_train()
        words = ("iron", "salt", "wool", "glue", "milk", "sand", "hemp", "zinc", "cork", "jade")
        corrected([f"Write a short poem about {word}" for word in words], was="writing")
        changes_propose()
        effect = Proposal.objects.get().effect
        assert effect["after"]["parts"]["own"]["right"] < 10

    def test_prompts_that_are_examples_already_are_nothing_new(self, corrected, experts):
        corrected(MIXED)
        for prompt in MIXED:
            RouteExample.objects.correct(prompt, experts["code"])
        outcome = changes_propose()
        assert outcome.proposals == ()
        assert "examples already" in outcome.messages[0]

    def test_examples_of_another_expert_are_counted_as_they_would_be_moved(self, corrected, experts, admin_user):
        for prompt in MIXED[:2]:
            RouteExample.objects.create(prompt=prompt, expert=experts["writing"])
        corrected(MIXED)
        changes_propose()
        proposal = Proposal.objects.get()
        assert proposal.content["moved"] == 2
        proposal_accept(proposal, user=admin_user, signature=proposal.signature)
        assert set(RouteExample.objects.filter(prompt__in=MIXED).values_list("expert__slug", flat=True)) == {"code"}

    def test_too_few_to_train_with_is_said(self, corrected):
        RouteExample.objects.all().delete()
        corrected(FISH)
        changes_propose()
        assert "two experts" in Proposal.objects.get().effect["problem"].lower()

    def test_ones_whose_texts_were_deleted_cannot_be_accepted(self, corrected, admin_user):
        corrected(MIXED)
        changes_propose()
        Feedback.objects.all().delete()
        proposal = Proposal.objects.get()
        with pytest.raises(NotDecided, match="too old"):
            proposal_accept(proposal, user=admin_user, signature=proposal.signature)
        assert Proposal.objects.get().status == "open"

    def test_a_disabled_expert_gets_nothing(self, corrected, admin_user):
        corrected(MIXED)
        changes_propose()
        Expert.objects.filter(slug="code").update(enabled=False)
        proposal = Proposal.objects.get()
        with pytest.raises(NotDecided, match="Enable it"):
            proposal_accept(proposal, user=admin_user, signature=proposal.signature)


@pytest.mark.parametrize(
    ("counts", "waiting", "kinds"),
    [
        ({"a": 10, "b": 3}, (), {"a": {"a"}}),
        ({"a": 10, "b": 3, "c": 7}, (), {"a": {"a"}, SEVERAL: {"b", "c"}}),
        ({"a": 9}, (), {}),
        ({"a": 1}, ("a",), {"a": {"a"}}),
        ({}, ("a", SEVERAL), {"a": {"a"}, SEVERAL: set()}),
        ({"a": 12, "b": 1}, (SEVERAL,), {SEVERAL: {"a", "b"}}),
    ],
)
def test_corrections_are_grouped_by_whom_they_correct(counts, waiting, kinds):
    assert grouped(counts, waiting, 10) == kinds


def test_work_is_noticed_until_it_is_done(corrected):
    assert noticing.load() == ""
    corrected(FISH)
    waiting = noticing.load()
    assert waiting
    corrected(["One more zebrafish"])
    assert noticing.load() not in ("", waiting)
    changes_propose()
    assert noticing.load() == ""


def test_the_command_tells_what_it_proposes(corrected):
    corrected(FISH)
    said = io.StringIO()
    call_command("propose_changes", "--json", stdout=said)
    told = json.loads(said.getvalue().splitlines()[-1])
    (proposal,) = told["proposals"]
    assert (proposal["kind"], proposal["was"], proposal["expert"]) == ("rule", "general", "code")
    assert proposal["content"]["keywords"] == ["zebrafish"]
    assert proposal["effect"]["changed"] == 10
    assert told["open"] == 1
    said = io.StringIO()
    call_command("propose_changes", stdout=said)
    assert "Proposals that wait: 1." in said.getvalue()
