"""The admin's pages of proposals."""

import pytest
from django.utils import timezone

from routing.learning.feedback import feedback_give
from routing.learning.proposing import changes_propose
from routing.models import DecisionRecord, Expert, Feedback, ModelServer, Proposal, Replica, RouteExample, RoutingRule
from tests.routing.test_admin_decisions import signed_in, text_of, words_of

pytestmark = pytest.mark.django_db

LIST = "/admin/routing/proposal/"
OTHERS = ("What is a monad", "Sort a list", "Name a river", "Cook rice", "Fix my bike", "Sing", "Is it late", "Go home")


@pytest.fixture
def proposal():
    """A rule for zebrafish, of ten corrections, one of them by an administrator."""
    server = ModelServer.objects.create(name="box", base_url="http://box:11434")
    rows = {slug: Expert.objects.create(slug=slug, name=slug.title()) for slug in ("general", "biology", "code")}
    for expert in rows.values():
        Replica.objects.create(expert=expert, server=server, model="m")
    Expert.objects.filter(slug="general").update(is_default=True)
    for number, prompt in enumerate((*OTHERS, "Zebras", "Fishing")):
        RouteExample.objects.create(
            prompt=prompt, expert=rows["code"], split="evaluation" if number % 2 else "training"
        )
    for number in range(10):
        record = DecisionRecord.objects.create(
            id=f"dec_{number:032x}",
            created_at=timezone.now(),
            asked="auto",
            expert="general",
            route="default",
            prompt=f"The zebrafish <b>{number}</b>",
            why={"needs": []},
        )
        feedback_give(
            record=record,
            source=Feedback.Source.API,
            rating=-1,
            expert=rows["biology"],
            comment="Wrong & slow",
            key_name="web",
        )
    (made,) = changes_propose().proposals
    return made


def test_the_list_has_open_ones_first_and_their_effect(admin_client, proposal):
    Proposal.objects.create(kind="rule", was="a", expert=proposal.expert, summary="Done", status="accepted")
    Proposal.objects.create(kind="rule", was="a", expert=proposal.expert, summary="Put aside", status="dismissed")
    words = words_of(admin_client.get(LIST))
    assert words.index("Send prompts with “zebrafish”") < words.index("Put aside") < words.index("Done")
    assert "10 of 10 decisions move" in words
    assert "not measured" in words
    assert "Add proposal" not in words
    assert "Done" not in words_of(admin_client.get(f"{LIST}?status__exact=open")).split("By status")[0]


def test_who_looks_at_routing_and_feedback_is_told_that_some_wait(admin_client, proposal):
    assert "1 proposal to decide on" in words_of(admin_client.get("/admin/routing/"))
    assert "Proposals (1 to decide on)" in words_of(admin_client.get("/admin/routing/feedback/"))
    Proposal.objects.update(status="dismissed")
    assert "to decide on" not in words_of(admin_client.get("/admin/routing/"))


def test_a_page_tells_what_it_would_change(admin_client, proposal):
    page = admin_client.get(f"{LIST}{proposal.pk}/change/")
    words = words_of(page)
    for expected in (
        "The condition fits 10 of the 10 corrected prompts, and 0 of 10 prompts",
        "Of the last 10 decisions whose prompts were kept, 10 would go to another expert.",
        "general biology 10 10 10 0",
        "10 would become right and 0 wrong: +",
        "The corrections it is made of 0% of 10 (0% to 28%) 100% of 10 (72% to 100%) – –",
        "Examples for evaluation 0% of 5",
        "The zebrafish <b>3</b>",
        "Wrong & slow",
        "web",
        "Accept …",
        "Dismiss …",
    ):
        assert expected in words, expected
    assert "<b>" not in page.content.decode()
    assert 'name="_save"' not in page.content.decode()


def test_prompts_that_were_deleted_are_shown_no_more(admin_client, proposal):
    DecisionRecord.objects.all().delete()
    Feedback.objects.all().delete()
    assert "zebrafish <b>" not in text_of(admin_client.get(f"{LIST}{proposal.pk}/change/"))


def test_accepting_asks_first_and_makes_the_rule(admin_client, admin_user, proposal):
    page = admin_client.get(f"{LIST}{proposal.pk}/accept/")
    assert "decides from the next request on" in words_of(page)
    assert not RoutingRule.objects.exists()
    answer = {"reason": "Fish are biology.", "signature": page.context["form"].initial["signature"]}
    page = admin_client.post(f"{LIST}{proposal.pk}/accept/", answer, follow=True)
    rule = RoutingRule.objects.get()
    assert (rule.keywords, rule.expert.slug, rule.enabled, rule.interrupts) == (["zebrafish"], "biology", True, False)
    assert f"The rule “{rule}” is in force" in text_of(page)
    words = words_of(page)
    assert "0% of 10 (0% to 28%) 100% of 10 (72% to 100%)" in words.split("The corrections it is made of")[1]
    assert "Accept …" not in words
    proposal.refresh_from_db()
    assert (proposal.status, proposal.reason, proposal.decided_by) == ("accepted", "Fish are biology.", admin_user)
    assert "From proposal" in text_of(admin_client.get(f"/admin/routing/routingrule/{rule.pk}/history/"))
    assert "Corrections: “zebrafish”" in text_of(admin_client.get("/admin/routing/routingrule/"))


def test_dismissing_keeps_the_reason(admin_client, proposal):
    answer = {"reason": "No.", "signature": proposal.signature}
    page = admin_client.post(f"{LIST}{proposal.pk}/dismiss/", answer, follow=True)
    assert "Dismissed. The same is not proposed again." in text_of(page)
    proposal.refresh_from_db()
    assert (proposal.status, proposal.reason) == ("dismissed", "No.")
    assert not RoutingRule.objects.exists()


def test_what_changed_meanwhile_is_not_accepted(admin_client, proposal):
    page = admin_client.post(f"{LIST}{proposal.pk}/accept/", {"signature": "seen before"}, follow=True)
    assert "Look at it once more" in text_of(page)
    assert not RoutingRule.objects.exists()


@pytest.mark.parametrize(
    ("permissions", "accept", "dismiss"),
    [
        (["view_proposal"], 403, 403),
        (["view_proposal", "change_proposal"], 403, 200),
        (["view_proposal", "change_proposal", "add_routingrule"], 200, 200),
        (["view_proposal", "add_routingrule"], 403, 403),
    ],
)
def test_who_may_decide(client, proposal, permissions, accept, dismiss):
    signed_in(client, *permissions)
    assert client.get(f"{LIST}{proposal.pk}/accept/").status_code == accept
    assert client.get(f"{LIST}{proposal.pk}/dismiss/").status_code == dismiss
    words = words_of(client.get(f"{LIST}{proposal.pk}/change/"))
    assert ("Accept …" in words, "Dismiss …" in words) == (accept == 200, dismiss == 200)
    assert client.get(f"{LIST}999999/accept/").status_code == 404


@pytest.mark.parametrize(
    "effect",
    [
        {},
        [],
        "x",
        {"problem": "Two experts are needed."},
        {"moves": [{}, 3], "paired": {}, "before": None, "worse": True},
    ],
)
def test_whatever_was_measured_can_be_looked_at(admin_client, proposal, effect):
    Proposal.objects.update(effect=effect, before=[], after="x", content={})
    assert admin_client.get(f"{LIST}{proposal.pk}/change/").status_code == 200
    assert admin_client.get(LIST).status_code == 200
    assert admin_client.get(f"{LIST}{proposal.pk}/accept/").status_code == 200


def test_one_that_would_make_it_worse_says_so(admin_client, proposal):
    Proposal.objects.update(effect=proposal.effect | {"worse": True})
    for page in (f"{LIST}{proposal.pk}/change/", f"{LIST}{proposal.pk}/accept/"):
        assert "fewer would be decided rightly" in words_of(admin_client.get(page))
    assert "fewer would be right" in words_of(admin_client.get(LIST))
