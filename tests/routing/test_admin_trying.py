"""The admin's page on which a prompt is tried, in process."""

import html
import re

import pytest
from django.contrib.auth.models import Permission, User

from routing.admin import trial, trying
from routing.classifying import Opinion
from routing.models import (
    ClassifierVersion,
    DecisionRecord,
    Expert,
    ModelServer,
    Replica,
    RouteExample,
    RoutingProfile,
    RoutingRule,
    RuleUse,
)

pytestmark = pytest.mark.django_db

PAGE = "/admin/routing/routingrule/try/"
LINK = f'<a href="{PAGE}">Try a prompt</a>'


class Says:
    """Stands in for the classifier; ``opinions`` are by prompt, anything else is ``opinion``."""

    def __init__(self):
        self.opinion_of_all = Opinion(probabilities={"code": 0.7, "math": 0.2, "chat": 0.1}, abstain=0.6, layer="quick")
        self.opinions = {}

    async def opinion(self, text, reading):
        return self.opinions.get(text, self.opinion_of_all)


@pytest.fixture(autouse=True)
def says(monkeypatch):
    says = Says()
    monkeypatch.setattr(trial, "shared_classifying", lambda: says)
    return says


@pytest.fixture(autouse=True)
def experts():
    return {
        slug: Expert.objects.create(slug=slug, name=slug.title(), is_default=slug == "chat", position=number)
        for number, slug in enumerate(("code", "math", "chat"))
    }


@pytest.fixture
def replicas(experts):
    server = ModelServer.objects.create(name="box", base_url="http://box:11434")
    for expert in experts.values():
        Replica.objects.create(expert=expert, server=server, model=expert.slug)
    return server


def rule(name, expert=None, **fields):
    return RoutingRule.objects.create(name=name, expert=expert, **fields)


def words_of(response):
    page = re.sub(r"(?s)<(style|script).*?</\1>", " ", response.content.decode())
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", page)))


def post(client, prompt="Why is the sky blue?", **fields):
    return client.post(PAGE, {"prompt": prompt, "profile": "auto"} | fields)


def tried(client, prompt="Why is the sky blue?", **fields):
    response = post(client, prompt, **fields)
    assert response.status_code == 200
    assert response.context["form"].errors == {}
    return response.context["trial"]


def said(trial):
    """Return the verdict on each rule, by its name."""
    return {one.rule.name: (one.verdict, one.reason, one.off) for one in trial.rules}


def signed_in(client, *permissions):
    user = User.objects.create_user("worker", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client.force_login(user)
    return client


# The decision


def test_the_classifier_decides_and_shows_what_it_thinks(admin_client, replicas):
    response = post(admin_client)
    words = words_of(response)
    for expected in ("Code (code) would answer", "the classifier is sure: code 70%", "70.0%", "20.0%", "10.0%"):
        assert expected in words
    assert re.findall(r'<progress max="100" value="(\d+)"', response.content.decode()) == ["70", "20", "10"]
    assert not response.context["trial"].note
    assert [name for name, _, _ in response.context["trial"].stages] == ["features", "filters", "rules", "classifier"]


def test_without_a_replica_it_is_decided_as_if_there_were_some(admin_client):
    words = words_of(post(admin_client))
    assert "Code (code) would answer" in words
    assert "No model server is known yet; decided as if every expert had one." in words


def test_what_was_skipped_is_told(admin_client, says):
    says.opinion_of_all = Opinion(skipped=("embedder: took too long",))
    words = words_of(post(admin_client))
    assert "Skipped: embedder: took too long" in words
    assert "Chat (chat) would answer" in words


def test_without_a_classifier_the_default_expert_answers(admin_client, monkeypatch):
    monkeypatch.undo()
    words = words_of(post(admin_client))
    assert "Chat (chat) would answer" in words
    assert "Skipped: classifier: no classifier is active" in words


def test_who_cannot_take_it_is_told(admin_client, experts, replicas):
    experts["math"].replicas.all().delete()
    assert "math no replica on an enabled model server" in words_of(post(admin_client))


def test_errors_of_the_router_are_words(admin_client, experts, replicas):
    profile = RoutingProfile.objects.create(slug="only-math", name="Only math")
    profile.experts.add(experts["math"])
    experts["math"].replicas.all().delete()
    response = post(admin_client, profile="only-math")
    assert response.status_code == 200
    assert response.context["trial"] is None
    assert "No expert of 'only-math' has a replica" in words_of(response)


def test_a_background_job_asks_no_rule(admin_client, experts):
    rule("any", experts["math"], keywords=["title"])
    trial = tried(admin_client, "### Task:\nGenerate a concise, 3-5 word title with an emoji.")
    assert trial.decision.route == "task"
    assert said(trial)["any"] == ("would fit", "found “title”", "rules were not asked")


# Rules


def test_every_rule_has_a_verdict(admin_client, experts):
    rule("draft", experts["math"], priority=1, keywords=["sky"], enabled=False)
    rule("other", experts["math"], priority=2, keywords=["sea"])
    rule("first", experts["code"], priority=3, keywords=["sky"])
    rule("late", experts["chat"], priority=4, keywords=["blue"])
    rule("never", experts["chat"], priority=5, keywords=["sea"])
    trial = tried(admin_client)
    assert trial.decision.expert.slug == "code"
    assert said(trial) == {
        "draft": ("would fit", "found “sky”", "disabled"),
        "other": ("does not fit", "found none of its keywords", ""),
        "first": ("fits", "found “sky”", ""),
        "late": ("would fit", "not tried: rule “first” stopped; found “blue”", ""),
        "never": ("does not fit", "found none of its keywords", ""),
    }
    assert [one.rule.name for one in trial.rules if one.applied] == ["first"]


def test_a_rule_that_is_passed_over_says_why(admin_client, experts, replicas):
    experts["math"].replicas.all().delete()
    rule("pure", experts["math"], keywords=["sky"])
    verdict, reason, _ = said(tried(admin_client))["pure"]
    assert verdict == "fits, but was passed over"
    assert reason == "found “sky”; passed over: math cannot take this request"


def test_a_rule_of_a_disabled_expert_has_no_say(admin_client, experts):
    Expert.objects.filter(slug="math").update(enabled=False)
    rule("sums", experts["math"], keywords=["sky"])
    trial = tried(admin_client)
    assert said(trial)["sums"] == ("would fit", "found “sky”", "its expert is disabled")
    assert trial.decision.expert.slug == "code"


@pytest.mark.parametrize(
    ("condition", "fields"),
    [
        ({"has_images": True}, {"has_images": "on"}),
        ({"has_tools": True}, {"has_tools": "on"}),
        ({"wants_json": True}, {"wants_json": "on"}),
        ({"keys": ["ci-*"]}, {"key": "ci-7"}),
        ({"groups": ["legal"]}, {"group": "Legal"}),
        ({"headers": {"X-Team": "le*"}}, {"headers": '{"X-Team": "legal"}'}),
        ({"metadata": {"project": "atlas"}}, {"metadata": '{"project": "atlas"}'}),
        ({"languages": ["tr"]}, {"language": "TR"}),
        ({"weekdays": [5], "from_time": "22:00"}, {"at": "2026-11-28T23:30"}),
        ({"look_in": "conversation", "keywords": ["sea"]}, {"earlier": "What of the sea?"}),
    ],
)
def test_every_condition_can_be_tried(admin_client, says, experts, condition, fields):
    says.opinion_of_all = Opinion(probabilities={"code": 0.5, "math": 0.5}, abstain=0.6)  # nobody holds a conversation
    rule("it", experts["math"], **condition)
    assert said(tried(admin_client))["it"][0] == "does not fit"
    trial = tried(admin_client, **fields)
    assert said(trial)["it"][0] == "fits"
    assert trial.decision.expert.slug == "math"
    assert trial.decision.route == "rule"


def test_a_rule_that_another_process_just_made_is_told(admin_client, experts):
    tried(admin_client)  # what is in memory is read here; nothing is committed within a test
    rule("new", experts["math"], keywords=["sky"])
    assert said(tried(admin_client))["new"] == ("would fit", "found “sky”", "new, and not known here yet; try again")


def test_a_language_that_is_said_is_the_only_one(admin_client, experts):
    rule("english", experts["math"], priority=1, languages=["en"])
    rule("german", experts["chat"], priority=2, languages=["de"], keywords=["sky"])
    prompt = "Why is the sky blue, and why is it red in the evening when the sun goes down?"
    assert tried(admin_client, prompt).decision.expert.slug == "math"
    trial = tried(admin_client, prompt, language="de")
    assert trial.decision.expert.slug == "chat"
    assert said(trial)["english"] == ("does not fit", "language is de, not en", "")
    assert said(trial)["german"][:1] == ("fits",)
    assert "language de" in said(trial)["german"][1]


def test_a_conversation_stays_with_its_expert(admin_client, says):
    says.opinions["Hello!"] = Opinion(probabilities={"chat": 0.5, "code": 0.5}, abstain=0.6, layer="quick")
    says.opinions["Add two and two."] = Opinion(probabilities={"math": 0.9, "code": 0.1}, abstain=0.6, layer="quick")
    trial = tried(admin_client, earlier="Hello!\r\n---\r\nAdd two and two.")
    assert (trial.decision.route, trial.decision.expert.slug) == ("held", "math")
    assert tried(admin_client).decision.expert.slug == "code"  # nothing is remembered


def test_turns_are_told_apart_by_lines_of_hyphens():
    assert trial.turns_of("one\n\ntwo\n---\n\n- three\n -----\n") == ["one\n\ntwo", "- three"]
    assert trial.turns_of("") == []


def test_what_the_model_is_told(admin_client, experts):
    Expert.objects.filter(slug="code").update(system_prompt="You write code.", defaults={"temperature": 0.7})
    rule(
        "brief",
        keywords=["sky"],
        overrides={"max_tokens": 50},
        system_mode="append",
        system_text="Be <brief>.",
        collections=["manuals"],
        stop=False,
    )
    response = post(admin_client)
    assert response.context["trial"].system == "You write code.\n\nBe <brief>."
    assert response.context["trial"].sampling == {"temperature": 0.7, "max_tokens": 50}
    words = words_of(response)
    for expected in (
        "Be <brief>.",
        "max_tokens 50 whatever the client says",
        "temperature 0.7 unless",
        "Grounded in: manuals",
    ):
        assert expected in words


# The form


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"prompt": "  \r\n "}, "Enter what a user would send."),
        ({"prompt": ""}, "This field is required."),
        ({"profile": "nobody"}, "Select a valid choice"),
        ({"headers": "{"}, "This is no JSON"),
        ({"headers": "[1]"}, "Enter a JSON object"),
        ({"headers": '{"x-team": 1}'}, "“x-team” must be a text in quotes"),
        ({"headers": '{"x": "\\ud800"}'}, "This is no JSON"),
        ({"metadata": "[" * 100_000}, "This is no JSON"),
        ({"at": "tomorrow"}, "Enter a valid date/time."),
    ],
)
def test_what_cannot_be_tried_is_told(admin_client, fields, message):
    response = post(admin_client, **fields)
    assert response.status_code == 200
    assert response.context["trial"] is None
    assert message in words_of(response)


def test_a_link_fills_the_prompt_in(admin_client):
    response = admin_client.get(PAGE, {"prompt": "<b>" + "x" * 2000, "profile": "auto-fast"})
    form = response.context["form"]
    assert form["prompt"].value() == "<b>" + "x" * (trying.LONGEST_IN_ADDRESS - 3)
    assert '<option value="auto-fast" selected>' in response.content.decode()
    assert "<b>x" not in response.content.decode()
    assert response.context["trial"] is None


def test_only_enabled_profiles_can_be_asked(admin_client):
    RoutingProfile.objects.create(slug="off", name="Off", enabled=False)
    page = admin_client.get(PAGE).content.decode()
    assert 'value="auto-best"' in page
    assert 'value="off"' not in page


def test_a_profile_may_tell_the_model_something_else(admin_client):
    RoutingProfile.objects.filter(slug="auto").update(system_prompt="Be kind.")
    trial = tried(admin_client)
    assert (trial.system, trial.sampling) == ("Be kind.", {})


def test_what_was_typed_stays(admin_client):
    response = post(admin_client, headers='{"x-team":  "legal"}', key="ci", at="2026-11-28T23:30", has_tools="on")
    page = html.unescape(response.content.decode())
    for expected in ('{"x-team":  "legal"}', 'value="ci"', 'value="2026-11-28T23:30"', "<details open>"):
        assert expected in page


def test_nothing_is_stored_or_counted(admin_client, experts):
    rule("sky", experts["math"], keywords=["sky"])
    tried(admin_client)
    for model in (RuleUse, DecisionRecord, RouteExample, ClassifierVersion):
        assert not model.objects.exists()


# What it should have been


def test_a_prompt_becomes_an_example(admin_client, experts):
    response = post(admin_client, "Why\r\nis it so?", do="example", expert=experts["math"].pk)
    assert "The prompt is an example for “Math” now." in words_of(response)
    example = RouteExample.objects.get()
    assert (example.prompt, example.expert.slug, example.source) == ("Why\nis it so?", "math", "curated")
    assert example.created_by.username == "admin"
    assert "The prompt is an example for “Math”." in words_of(post(admin_client, "why is  it SO?"))


def test_a_prompt_that_is_an_example_moves(admin_client, experts):
    RouteExample.objects.create(prompt="Why is the sky blue?", expert=experts["chat"], source="starter")
    response = post(admin_client, "why is the  SKY blue?", do="example", expert=experts["math"].pk)
    assert "The prompt was an example for “Chat”; it is one for “Math” now." in words_of(response)
    example = RouteExample.objects.get()
    assert (example.expert.slug, example.source) == ("math", "corrected")
    assert "was an example for “Math” already" in words_of(post(admin_client, do="example", expert=experts["math"].pk))


def test_an_example_needs_an_expert(admin_client):
    assert "Choose the expert that should have answered." in words_of(post(admin_client, do="example", expert=""))
    assert not RouteExample.objects.exists()


# Who may, and from where


def test_strangers_try_nothing(client, experts):
    assert client.get(PAGE).status_code == 302
    signed_in(client, "view_expert")
    assert client.get(PAGE).status_code == 403
    assert post(client).status_code == 403


def test_who_may_see_rules_may_try_and_store_nothing(client, experts):
    signed_in(client, "view_routingrule")
    response = post(client)
    assert "would answer" in words_of(response)
    assert "This should have been" not in words_of(response)
    assert post(client, do="example", expert=experts["math"].pk).status_code == 403
    assert not RouteExample.objects.exists()


def test_who_may_add_examples_may_say_who_should_have_answered(client, experts):
    signed_in(client, "view_routingrule", "add_routeexample")
    assert "This should have been" in words_of(post(client))
    post(client, do="example", expert=experts["math"].pk)
    assert RouteExample.objects.get().expert == experts["math"]


@pytest.mark.parametrize("model", ["routingrule", "expert", "routingprofile", "decisionrecord", "classifierversion"])
def test_the_lists_link_to_it(admin_client, model):
    assert LINK in admin_client.get(f"/admin/routing/{model}/").content.decode()


def test_links_are_for_those_who_may(client):
    signed_in(client, "view_expert", "view_decisionrecord")
    for model in ("expert", "decisionrecord"):
        assert LINK not in client.get(f"/admin/routing/{model}/").content.decode()
    assert "Try a prompt" not in words_of(client.get("/admin/routing/"))


def test_the_section_links_to_it(admin_client):
    page = admin_client.get("/admin/routing/").content.decode()
    assert LINK in page
    assert "Evaluate the router" in page


# Several experts


def test_who_would_answer_together_is_told(admin_client, experts, replicas):
    Expert.objects.filter(slug="math").update(system_prompt="You are good at maths.")
    words = words_of(post(admin_client, profile="moe"))
    assert re.search(r"Mixture: code, math, \w+ are asked at the same time", words)
    assert "code makes the answers one." in words
    assert "at the same time" not in words_of(post(admin_client))
    assert "Skipped: mixture: a request with tools is answered by one expert" in words_of(
        post(admin_client, profile="moe", has_tools="on")
    )
