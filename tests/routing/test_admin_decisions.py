"""The admin's pages of decisions, in process."""

import html
import re

import pytest
from django.contrib.auth.models import Permission, User
from django.utils import timezone

from routing.models import DecisionRecord, Expert, RouteExample

pytestmark = pytest.mark.django_db

LIST = "/admin/routing/decisionrecord/"
WHY = {
    "sentence": "The classifier was sure of <code>.",
    "profile": "auto-fast",
    "candidates": [
        {"expert": "code", "probability": 0.914, "utility": 0.8, "start_s": 2.5, "price": 0.25},
        {"expert": "math", "probability": 0.05},
    ],
    "stages": [{"stage": "rules", "milliseconds": 0.123, "result": "none fits"}, {"stage": "classifier"}],
    "skipped": ["embedder: it did not answer"],
    "filtered": [{"expert": "vision", "reason": "has no replica"}],
    "rules": [{"rule": "Legal", "fits": False, "reason": "no keyword"}, {"rule": "Nights", "fits": True}],
    "held": "the third turn",
    "tokens": 321,
    "hops": [{"replica": "coder@box", "error": "upstream_timeout"}],
    "weather": {"rain": "yes"},
}


@pytest.fixture
def experts():
    return {slug: Expert.objects.create(slug=slug, name=slug.title()) for slug in ("code", "math")}


def make(number=1, **fields):
    values = {"created_at": timezone.now(), "asked": "auto", "expert": "code", "route": "classifier"}
    return DecisionRecord.objects.create(id=f"dec_{number}", **(values | fields))


def signed_in(client, *permissions):
    user = User.objects.create_user("worker", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client.force_login(user)
    return client


def text_of(response):
    return html.unescape(response.content.decode())


def words_of(response):
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode())))


# Looking


def test_the_list_tells_decisions(admin_client):
    make(1, prompt="Write\n a   function", confidence=0.914, language="en", key_name="ci", outcome="answered")
    make(2, route="rule", expert="math", asked="auto-fast")
    words = words_of(admin_client.get(LIST))
    for expected in ("Write a function", "91%", " en ", " ci ", "answered", "not kept", "auto-fast"):
        assert expected in words
    assert "Add decision" not in words


@pytest.mark.parametrize(
    "query", ["route__exact=rule", "expert=math", "language=de", "asked=auto-fast", "q=dec_2", "q=req-9", "q=sum+of"]
)
def test_decisions_are_found(admin_client, query):
    make(1, prompt="Write a function", language="en")
    make(2, route="rule", expert="math", asked="auto-fast", language="de", request_id="req-9", prompt="The sum of 1")
    page = admin_client.get(f"{LIST}?{query}")
    assert page.status_code == 200
    assert "The sum of 1" in text_of(page)
    assert "Write a function" not in text_of(page)


def test_old_ones_are_told_from_new_ones(admin_client):
    make(1, prompt="Newly asked")
    make(2, prompt="Asked before", created_at=timezone.now() - timezone.timedelta(days=3))
    links = re.findall(r'href="\?(created_at__gte=[^"]*)"', admin_client.get(LIST).content.decode())
    page = text_of(admin_client.get(f"{LIST}?{html.unescape(links[0])}"))
    assert "Newly asked" in page
    assert "Asked before" not in page


def test_a_decision_explains_itself(admin_client):
    make(prompt="Write\nit", why=WHY, confidence=0.914, milliseconds=1.5, request_id="req-1", answered_by="chat")
    page = admin_client.get(f"{LIST}dec_1/change/")
    words = words_of(page)
    for expected in (
        "The classifier was sure of <code>.",
        "Profile: auto-fast",
        "code 91% 0.800 2.5 s 0.2500",
        "math 5% – – –",
        "rules 0.12 ms none fits",
        "classifier – ",
        "Skipped: embedder: it did not answer",
        "vision has no replica",
        "Legal does not fit no keyword",
        "Nights fits",
        "The conversation was held: the third turn",
        "as estimated: 321",
        "Passed on: coder@box (upstream_timeout)",
        '"rain": "yes"',
        "Write it",
        "req-1",
    ):
        assert expected in words, expected
    assert "<code>" not in page.content.decode()
    assert 'name="_save"' not in page.content.decode()


@pytest.mark.parametrize(
    "why",
    [
        {},
        [],
        "text",
        None,
        {"candidates": None, "stages": "x", "rules": {"a": 1}, "skipped": 3, "filtered": [1, None], "hops": {}},
        {"candidates": [{}, {"probability": "high"}], "stages": [{}], "rules": [{}], "filtered": [{}]},
    ],
)
def test_whatever_was_stored_can_be_looked_at(admin_client, why):
    make(why=why if why is not None else "")
    page = admin_client.get(f"{LIST}dec_1/change/")
    assert page.status_code == 200
    assert "not kept; the profile says whether prompts are" in text_of(page)


def test_nothing_can_be_changed(admin_client):
    make(prompt="as it was")
    admin_client.post(f"{LIST}dec_1/change/", {"prompt": "other"})
    assert DecisionRecord.objects.get().prompt == "as it was"
    assert admin_client.get(f"{LIST}add/").status_code == 403
    assert admin_client.get(f"{LIST}nothing/change/").status_code == 302


# Correcting


def test_a_prompt_becomes_an_example_for_the_expert_that_should_have_answered(admin_client, experts, admin_user):
    make(prompt="What is 1+1?")
    page = admin_client.get(f"{LIST}dec_1/change/")
    assert "Should have been" in text_of(page)
    page = admin_client.post(f"{LIST}dec_1/correct/", {"expert": experts["math"].pk}, follow=True)
    assert "The prompt is an example for “Math” now." in text_of(page)
    example = RouteExample.objects.get()
    assert (example.prompt, example.expert, example.source) == ("What is 1+1?", experts["math"], "corrected")
    assert example.created_by == admin_user
    assert "It is an example for “Math” already" in text_of(admin_client.get(f"{LIST}dec_1/change/"))
    page = admin_client.post(f"{LIST}dec_1/correct/", {"expert": experts["math"].pk}, follow=True)
    assert "was an example for “Math” already." in text_of(page)


def test_an_example_that_says_otherwise_is_moved(admin_client, experts):
    RouteExample.objects.create(prompt="what IS 1+1?", expert=experts["code"], source="starter", enabled=False)
    make(prompt="What is 1+1?")
    page = admin_client.post(f"{LIST}dec_1/correct/", {"expert": experts["math"].pk}, follow=True)
    assert "The prompt was an example for “Code”; it is one for “Math” now." in text_of(page)
    example = RouteExample.objects.get()
    assert (example.expert, example.source, example.enabled) == (experts["math"], "corrected", True)
    assert "Corrected decision dec_1." in text_of(
        admin_client.get(f"/admin/routing/routeexample/{example.pk}/history/")
    )


def test_without_a_prompt_there_is_nothing_to_learn(admin_client, experts):
    make()
    assert "Should have been" not in text_of(admin_client.get(f"{LIST}dec_1/change/"))
    page = admin_client.post(f"{LIST}dec_1/correct/", {"expert": experts["math"].pk}, follow=True)
    assert "The prompt of this decision was not kept." in text_of(page)
    assert not RouteExample.objects.exists()


def test_an_expert_must_be_chosen(admin_client, experts):
    make(prompt="x")
    page = admin_client.post(f"{LIST}dec_1/correct/", {"expert": "99999"}, follow=True)
    assert "Choose the expert that should have answered." in text_of(page)
    assert admin_client.get(f"{LIST}dec_1/correct/").status_code == 405
    assert admin_client.post(f"{LIST}dec_9/correct/").status_code == 404


def test_several_are_corrected_together(admin_client, experts):
    chosen = {"action": "correct", "_selected_action": [make(1, prompt="one").pk, make(2, prompt="two").pk, make(3).pk]}
    page = admin_client.post(LIST, chosen)
    assert "Who should have answered these?" in text_of(page)
    assert "The prompt of 1 of the selected decisions was not kept" in text_of(page)
    page = admin_client.post(LIST, chosen | {"chosen": "yes", "expert": experts["math"].pk}, follow=True)
    assert text_of(page).count("The prompt is an example for “Math” now.") == 2
    assert RouteExample.objects.count() == 2
    page = admin_client.post(LIST, {"action": "correct", "_selected_action": ["dec_3"]}, follow=True)
    assert "not kept" in text_of(page)


# Who may


def test_who_may_add_no_examples_cannot_correct(client, experts):
    make(prompt="x")
    signed_in(client, "view_decisionrecord")
    assert "Should have been" not in text_of(client.get(f"{LIST}dec_1/change/"))
    assert client.post(f"{LIST}dec_1/correct/", {"expert": experts["math"].pk}).status_code == 403
    client.post(LIST, {"action": "correct", "_selected_action": ["dec_1"], "chosen": "y", "expert": experts["math"].pk})
    assert not RouteExample.objects.exists()


def test_who_may_add_examples_can_correct(client, experts):
    make(prompt="x")
    signed_in(client, "view_decisionrecord", "add_routeexample")
    assert "Should have been" in text_of(client.get(f"{LIST}dec_1/change/"))
    client.post(f"{LIST}dec_1/correct/", {"expert": experts["math"].pk})
    assert RouteExample.objects.count() == 1


def test_strangers_see_nothing(client, experts):
    make(prompt="x")
    assert client.get(f"{LIST}dec_1/change/").status_code == 302
    signed_in(client, "add_routeexample")
    assert client.get(LIST).status_code == 403
    assert client.post(f"{LIST}dec_1/correct/", {"expert": experts["math"].pk}).status_code == 403


# Several experts


PART = {"role": "member", "expert": "code", "replica": "coder@box", "status": "answered", "error": None}
COUNTED = {
    "prompt_tokens": 11,
    "completion_tokens": 2,
    "cost": 0.000015,
    "start_s": 0.0,
    "first_s": 0.5,
    "seconds": 1.25,
}
TOGETHER = {
    "mixture": {"mode": "mixture", "members": ["code", "math", "art"], "aggregator": "general", "breadth": 2},
    "parts": [
        PART | COUNTED | {"confidence": 0.91, "signal": "logprobs"},
        PART | {"expert": "math", "status": "failed", "error": "upstream_error", "confidence": None},
    ],
    "agreement": 0.55,
    "asked": 2,
    "expansions": 1,
    "cost": 0.000015,
    "notes": ["the aggregator general failed"],
}


def test_what_several_experts_did_is_shown(admin_client):
    record = make(why=WHY | TOGETHER)
    words = words_of(admin_client.get(f"{LIST}{record.pk}/change/"))
    for told in (
        "Mixture: code, math are asked at the same time, and where they disagree or are not confident art;",
        "general makes the answers one.",
        "Agreement of the answers: 55%",
        "Asked for more: once",
        "Cost of all parts: 0.000015",
        "The aggregator general failed",
        "code member coder@box answered 91% (logprobs) 11 / 2 0.000015 0.00 s 0.50 s 1.25 s",
        "math member coder@box failed (upstream_error) – – / – – – – –",
    ):
        assert told in words
    assert "weather" in words  # what nobody knows is still shown as it is
    assert '"agreement"' not in words


def test_a_cascade_is_told_as_one(admin_client):
    record = make(why={"mixture": {"mode": "cascade", "members": ["small", "medium", "big"]}, "parts": "odd"})
    words = words_of(admin_client.get(f"{LIST}{record.pk}/change/"))
    assert "Cascade: small answers; where it is not confident enough, medium, then big." in words


def test_one_expert_alone_has_no_parts(admin_client):
    words = words_of(admin_client.get(f"{LIST}{make(why=WHY | {'mixture': None}).pk}/change/"))
    assert "Who answered together" not in words
