"""The admin's list of feedback, and what can be said of decisions in their list."""

import pytest

from routing.models import DecisionRecord, Feedback, RouteExample
from tests.routing.test_admin_decisions import LIST as DECISIONS
from tests.routing.test_admin_decisions import experts, make, signed_in, text_of, words_of  # noqa: F401 - a fixture

pytestmark = pytest.mark.django_db

LIST = "/admin/routing/feedback/"


def say(client, said, address=DECISIONS):
    return client.post(address, {"said": said}, follow=True)


# In the list of decisions


def test_one_button_makes_an_example_and_a_correction(admin_client, admin_user, experts):  # noqa: F811
    make(prompt="What is 1+1?")
    page = admin_client.get(DECISIONS)
    button = f'<button name="said" value="dec_1 {experts["math"].pk}">Math</button>'
    assert button in page.content.decode()
    assert f'value="dec_1 {experts["code"].pk}"' not in page.content.decode(), "it is whom the decision went to"
    page = say(admin_client, f"dec_1 {experts['math'].pk}", f"{DECISIONS}?route=classifier")
    assert page.redirect_chain == [(f"{DECISIONS}?route=classifier", 302)]
    assert "The prompt is an example for “Math” now." in text_of(page)
    assert "👎 → Math" in words_of(page)
    example = RouteExample.objects.get()
    assert (example.prompt, example.expert, example.source) == ("What is 1+1?", experts["math"], "corrected")
    said = Feedback.objects.get()
    assert (said.was, said.expert, said.rating, said.source) == ("code", experts["math"], -1, "admin")
    assert (said.user, said.prompt) == (admin_user, "What is 1+1?")


def test_the_page_and_the_action_count_as_corrections_too(admin_client, experts):  # noqa: F811
    make(1, prompt="one")
    make(2, prompt="two")
    admin_client.post(f"{DECISIONS}dec_1/correct/", {"expert": experts["math"].pk})
    chosen = {"action": "correct", "_selected_action": ["dec_2"], "chosen": "yes", "expert": experts["math"].pk}
    admin_client.post(DECISIONS, chosen)
    assert Feedback.objects.learnable().count() == 2


def test_thumbs_are_kept_and_the_last_one_counts(admin_client, experts):  # noqa: F811
    make()
    say(admin_client, "dec_1 +1")
    assert Feedback.objects.get().rating == 1
    page = say(admin_client, "dec_1 -1")
    assert "👎 for code." in text_of(page)
    assert Feedback.objects.get().rating == -1
    assert not RouteExample.objects.exists()


def test_a_thumb_down_does_not_take_a_correction_back_and_a_thumb_up_does(admin_client, experts):  # noqa: F811
    make(prompt="x")
    say(admin_client, f"dec_1 {experts['math'].pk}")
    say(admin_client, "dec_1 -1")
    assert Feedback.objects.get().expert == experts["math"]
    say(admin_client, "dec_1 +1")
    assert Feedback.objects.get().expert is None


def test_without_a_prompt_there_are_thumbs_alone(admin_client, experts):  # noqa: F811
    make()
    page = admin_client.get(DECISIONS).content.decode()
    assert "👍" in page
    assert "should have been …" not in page
    page = say(admin_client, f"dec_1 {experts['math'].pk}")
    assert "was not kept" in text_of(page)
    assert not Feedback.objects.exists()


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("dec_9 +1", "no such decision"),
        ("", "no such decision"),
        ("dec_1 999999", "no such expert"),
        ("dec_1", "no such expert"),
        ("dec_1 +2", "no such expert"),
    ],
)
def test_what_makes_no_sense_is_said(admin_client, experts, said, words):  # noqa: F811
    make(prompt="x")
    assert words in text_of(say(admin_client, said))
    assert not Feedback.objects.exists()


def test_who_may_what(client, experts):  # noqa: F811
    make(prompt="x")
    signed_in(client, "view_decisionrecord")
    page = client.get(DECISIONS).content.decode()
    assert "👍" not in page
    assert "should have been …" not in page
    assert client.post(DECISIONS, {"said": "dec_1 +1"}).status_code == 403
    assert client.post(DECISIONS, {"said": f"dec_1 {experts['math'].pk}"}).status_code == 403
    assert not Feedback.objects.exists()
    assert not RouteExample.objects.exists()


def test_a_click_needs_the_forms_token(experts, admin_user):  # noqa: F811
    from django.test import Client

    make(prompt="x")
    client = Client(enforce_csrf_checks=True)
    client.force_login(admin_user)
    assert client.post(DECISIONS, {"said": "dec_1 +1"}).status_code == 403
    page = client.get(DECISIONS)
    token = page.context["csrf_token"]
    assert client.post(DECISIONS, {"said": "dec_1 +1", "csrfmiddlewaretoken": str(token)}).status_code == 302


# The list of feedback


@pytest.fixture
def said(experts):  # noqa: F811
    make(1, prompt="Sum of\n 1 and 2")
    values = {"was": "code", "key_name": "web"}
    return {
        "corrected": Feedback.objects.create(
            decision="dec_1", rating=-1, expert=experts["math"], prompt="Sum of\n 1 and 2", comment="No sum", **values
        ),
        "liked": Feedback.objects.create(decision="dec_2", rating=1, prompt="Fix it", **values),
        "disliked": Feedback.objects.create(decision="dec_3", rating=-1, prompt="Hm", **values),
        "no prompt": Feedback.objects.create(decision="dec_4", rating=-1, expert=experts["math"], **values),
    }


def test_feedback_is_listed_found_and_told(admin_client, said):
    words = words_of(admin_client.get(LIST))
    for expected in ("Sum of 1 and 2", "No sum", "Math", "code", "web", "a client", "not given", "👎", "👍"):
        assert expected in words
    assert "Add feedback" not in words
    page = text_of(admin_client.get(f"{LIST}?rating=1"))
    assert "Fix it" in page
    assert "No sum" not in page
    assert "No sum" in text_of(admin_client.get(f"{LIST}?q=no+sum"))
    page = text_of(admin_client.get(f"{LIST}{said['corrected'].pk}/change/"))
    assert f"{DECISIONS}dec_5F1/change/" in page
    assert 'name="_save"' not in page


def test_examples_are_made_for_the_experts_they_name(admin_client, said, experts):  # noqa: F811
    chosen = {"action": "make_examples", "_selected_action": [row.pk for row in said.values()]}
    page = text_of(admin_client.post(LIST, chosen, follow=True))
    assert "The prompt of 1 of the selected was neither kept nor given" in page
    assert "1 of the selected name no expert" in page
    made = {example.prompt: (example.expert, example.source) for example in RouteExample.objects.all()}
    assert made == {
        "Sum of\n 1 and 2": (experts["math"], "corrected"),
        "Fix it": (experts["code"], "corrected"),
    }


def test_examples_are_made_for_one_expert(admin_client, said, experts):  # noqa: F811
    chosen = {"action": "make_examples_for", "_selected_action": [said["disliked"].pk, said["no prompt"].pk]}
    assert "Who should answer these?" in text_of(admin_client.post(LIST, chosen))
    admin_client.post(LIST, chosen | {"chosen": "yes", "expert": experts["math"].pk})
    assert RouteExample.objects.get().expert == experts["math"]


def test_who_may_add_no_examples_makes_none(client, said):
    signed_in(client, "view_feedback")
    client.post(LIST, {"action": "make_examples", "_selected_action": [said["liked"].pk]})
    assert not RouteExample.objects.exists()
    assert DecisionRecord.objects.exists()
