"""The admin's pages of classifiers, in process."""

import html
import re

import pytest
from django.contrib.auth.models import Permission

from routing.classifier import measures
from routing.models import ClassifierVersion

pytestmark = pytest.mark.django_db

LIST = "/admin/routing/classifierversion/"
TRUTH = ["code", "code", "code", "math", "math", "<b>"]
CHOSEN = ["code", "code", "math", "math", "math", "code"]
RIGHT = [one == other for one, other in zip(TRUTH, CHOSEN, strict=True)]
SURE = [0.9, 0.8, 0.55, 0.95, 0.7, 0.3]
METRICS = {
    "count": 6,
    **measures.scores(TRUTH, CHOSEN),
    "languages": measures.by(["en", "en", "de", "de", "", "en"], TRUTH, CHOSEN),
    "calibration": measures.calibration(SURE, RIGHT),
    "coverage": measures.coverage(SURE, RIGHT, 0.6),
    "quick_share": 0.5,
    "evaluation": {"count": 40, "accuracy": 0.875, "active": 0.85},
    "seconds": 12,
}


@pytest.fixture
def versions():
    return [
        ClassifierVersion.objects.create(
            experts=["code", "math", "<b>"], examples=600, metrics=METRICS, weights=b"weights", active=active
        )
        for active in (True, False)
    ]


@pytest.fixture
def weights_are_good(monkeypatch):
    """What the weights hold is another test's matter."""
    monkeypatch.setattr("routing.versions.Classifier.loads", lambda data: None)


def text_of(response):
    return html.unescape(response.content.decode())


def words_of(response):
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode())))


def act(client, action, *rows, **fields):
    return client.post(LIST, {"action": action, "_selected_action": [row.pk for row in rows]} | fields, follow=True)


def active():
    return [version.pk for version in ClassifierVersion.objects.filter(active=True)]


# Looking


def test_the_list_tells_what_they_are_worth(admin_client, versions):
    words = words_of(admin_client.get(LIST))
    for expected in (str(versions[0]), "600", " 3 ", "66.7%", "60.0%"):
        assert expected in words
    assert "Add classifier" not in words


def test_a_version_shows_what_was_measured(admin_client, versions):
    page = admin_client.get(f"{LIST}{versions[0].pk}/change/")
    words = words_of(page)
    for expected in (
        "code, math, <b>",
        "Examples measured with 6",
        "Accuracy 66.7%",
        "Macro F1 0.489",
        "Accuracy, 95 % interval 30.0% to 90.3%",
        "Abstains below 60.0%",
        "Decided 66.7%",
        "Decided rightly 100.0%",
        "Decided by the quick layer 50.0%",
        "Examples for evaluation 40 Of those rightly 87.5% The active one then 85.0%",
        "By expert count precision recall f1 code 3 66.7% 66.7% 0.667 math 2 66.7% 100.0% 0.800 <b> 1 0.0% 0.0% 0.000",
        "By language count accuracy interval en 3 66.7%",
        "unknown 1 100.0%",
        "Calibration, by confidence count accuracy confidence 30.0% to 40.0% 1 0.0% 30.0%",
        "<b> code math <b> 0 1 · code · 2 1 math · · 2",
        '"seconds": 12',
    ):
        assert expected in words, expected
    assert "<b>" not in page.content.decode()


@pytest.mark.parametrize(
    "metrics",
    [
        {},
        [],
        "text",
        {"accuracy": None, "experts": [1], "languages": {"en": 0.5}, "confusion": {"labels": 3}, "coverage": 0.5},
        {"calibration": {"bins": [1, {}]}, "confusion": {"labels": ["a"], "counts": [None, [1, 2]]}},
        {"experts": {"code": {"f1": "good"}}, "confusion": {"labels": ["a"], "counts": [[1]]}},
    ],
)
def test_whatever_was_stored_can_be_looked_at(admin_client, metrics):
    version = ClassifierVersion.objects.create(metrics=metrics, weights=b"")
    assert admin_client.get(LIST).status_code == 200
    assert admin_client.get(f"{LIST}{version.pk}/change/").status_code == 200


def test_nothing_can_be_changed(admin_client, versions):
    admin_client.post(f"{LIST}{versions[1].pk}/change/", {"note": "other", "active": "on"})
    assert active() == [versions[0].pk]
    assert not ClassifierVersion.objects.exclude(note="").exists()
    assert admin_client.get(f"{LIST}add/").status_code == 403


def test_the_weights_are_not_fetched_to_look_at_them(admin_client, versions, django_assert_max_num_queries):
    with django_assert_max_num_queries(20) as queries:
        admin_client.get(LIST)
        admin_client.get(f"{LIST}{versions[0].pk}/change/")
    assert not [query for query in queries if '"weights"' in query["sql"]]


# Switching


def test_a_version_is_activated_after_a_question(admin_client, versions, weights_are_good):
    assert "Activate" in text_of(admin_client.get(f"{LIST}{versions[1].pk}/change/"))
    page = act(admin_client, "activate", versions[1])
    words = words_of(page)
    assert f"{versions[1]} will decide from the next request on, instead of {versions[0]}." in words
    assert "Accuracy: 66.7%" in words
    assert active() == [versions[0].pk]
    page = admin_client.post(f"{LIST}{versions[1].pk}/activate/", follow=True)
    assert f"Activated {versions[1]}." in text_of(page)
    assert active() == [versions[1].pk]
    assert "Activated." in text_of(admin_client.get(f"{LIST}{versions[1].pk}/history/"))


def test_one_that_cannot_be_read_is_not_activated(admin_client, versions):
    page = admin_client.post(f"{LIST}{versions[1].pk}/activate/", follow=True)
    assert f"{versions[1]} could not be activated: " in text_of(page)
    assert active() == [versions[0].pk]


def test_only_one_is_activated(admin_client, versions):
    assert "Choose the one version that should decide." in text_of(act(admin_client, "activate", *versions))
    assert admin_client.get(f"{LIST}99999/activate/").status_code == 404


def test_routing_can_do_without_a_classifier(admin_client, versions):
    page = act(admin_client, "deactivate", *versions)
    assert "until a version is activated again" in text_of(page)
    assert active() == [versions[0].pk]
    page = admin_client.post(f"{LIST}{versions[0].pk}/deactivate/", follow=True)
    assert f"Deactivated {versions[0]}." in text_of(page)
    assert active() == []
    assert "What is selected is not active." in text_of(act(admin_client, "deactivate", versions[1]))


# Deleting


def test_the_active_one_is_not_deleted(admin_client, versions):
    refusal = f"{versions[0]} is active; activate another, or deactivate it first."
    page = admin_client.post(f"{LIST}{versions[0].pk}/delete/", {"post": "yes"}, follow=True)
    assert refusal in text_of(page)
    assert refusal in text_of(act(admin_client, "delete_selected", *versions, post="yes"))
    assert ClassifierVersion.objects.count() == 2
    admin_client.post(f"{LIST}{versions[1].pk}/delete/", {"post": "yes"})
    assert ClassifierVersion.objects.get() == versions[0]


# Who may


def test_who_may_only_look_cannot_switch(client, django_user_model, versions):
    user = django_user_model.objects.create_user("worker", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename="view_classifierversion"))
    client.force_login(user)
    assert client.get(LIST).status_code == 200
    assert "/activate/" not in text_of(client.get(f"{LIST}{versions[1].pk}/change/"))
    for what in ("activate", "deactivate"):
        assert client.get(f"{LIST}{versions[1].pk}/{what}/").status_code == 403
        assert client.post(f"{LIST}{versions[1].pk}/{what}/").status_code == 403
    assert active() == [versions[0].pk]
