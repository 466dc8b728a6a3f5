"""The admin's pages of profiles, in process."""

import html
import re

import pytest

from routing.catalog import Mixing, Mode, catalog
from routing.models import Expert, RoutingProfile

pytestmark = pytest.mark.django_db

LIST = "/admin/routing/routingprofile/"
FORM = {
    "slug": "legal",
    "name": "Legal",
    "enabled": "on",
    "position": "50",
    "quality": "1",
    "speed": "0.2",
    "cost": "0",
    "strength": "0",
    "mode": "route",
    "breadth": "3",
    "breadth_most": "5",
    "agreement": "0.6",
    "confidence": "0.6",
    "patience": "30",
    "defaults": "{}",
    "failover": "fallbacks",
    "answers_while_loading": "unknown",
    "text_only": "unknown",
    "log_share": "100",
    "cache_threshold": "0.95",
}


@pytest.fixture
def auto():
    return RoutingProfile.objects.get(slug="auto")


def text_of(response):
    return html.unescape(response.content.decode())


def save(client, path=f"{LIST}add/", **fields):
    """Post the form; return what is wrong with it, by words, or "" when it was saved."""
    response = client.post(path, {key: value for key, value in (FORM | fields).items() if value is not None})
    if response.status_code == 302:
        return ""
    return " ".join(re.findall(r'<ul class="errorlist[^>]*>(.*?)</ul>', text_of(response)))


def test_the_list_tells_what_profiles_are(admin_client, auto):
    auto.experts.add(Expert.objects.create(slug="code", name="Code"))
    RoutingProfile.objects.filter(slug="auto-fast").update(log_prompts=True, log_share=10)
    RoutingProfile.objects.filter(slug="auto-best").update(log_share=0)
    page = re.sub(r"<[^>]+>", "|", text_of(admin_client.get(LIST)))
    for words in (
        "|code|",
        "|every expert|",
        "|quality 1, speed 2|",
        "|quality 1, strength 1|",
        "|10% of decisions, with prompts|",
        "|100% of decisions, without prompts|",
        "|nothing|",
    ):
        assert words in page


def test_everything_can_be_entered(admin_client):
    expert = Expert.objects.create(slug="code", name="Code")
    wrong = save(
        admin_client,
        description="For lawyers.",
        experts=[expert.pk],
        strength="0.5",
        system_prompt="Be exact.",
        defaults='{"temperature": 0}',
        collections="contracts\r\n\r\nlaws",
        sticky="on",
        answers_while_loading="true",
        text_only="false",
        failover="replicas",
        log_prompts="on",
    )
    assert wrong == ""
    profile = RoutingProfile.objects.get(slug="legal")
    assert (profile.collections, profile.defaults, profile.strength) == (
        ["contracts", "laws"],
        {"temperature": 0},
        0.5,
    )
    assert (profile.answers_while_loading, profile.text_only, profile.sticky) == (True, False, True)
    assert list(profile.experts.all()) == [expert]
    page = text_of(admin_client.get(f"{LIST}{profile.pk}/change/"))
    assert "contracts\nlaws</textarea>" in page
    assert "as the expert says" in page
    assert save(admin_client, f"{LIST}{profile.pk}/change/", defaults="", collections="") == ""
    profile.refresh_from_db()
    assert (profile.defaults, profile.collections, profile.text_only) == ({}, [], None)


def test_a_mixture_is_entered_and_known_to_the_catalog(admin_client):
    expert = Expert.objects.create(slug="judge", name="Judge")
    fields = {"breadth": "2", "breadth_most": "4", "agreement": "0.7", "confidence": "0.5", "patience": "5"}
    fields |= {"mode": "mixture", "aggregator": expert.pk, "aggregator_prompt": "Take a vote."}
    assert save(admin_client, **fields) == ""
    profile = catalog.get().profiles["legal"]
    assert (profile.mode, profile.mixing) == (
        Mode.MIXTURE,
        Mixing(
            breadth=2,
            breadth_most=4,
            aggregator="judge",
            agreement=0.7,
            confidence=0.5,
            patience=5.0,
            prompt="Take a vote.",
        ),
    )
    assert not profile.asks_program


def test_what_concerns_several_is_closed_where_one_answers(admin_client, auto):
    closed, title = re.compile(r'<details[^>]*>\s*<summary>[^"]*Where several experts answer'), "Where several experts"
    page = text_of(admin_client.get(f"{LIST}{auto.pk}/change/"))
    assert closed.search(re.sub(r"<h2[^>]*>|</h2>", "", page))
    moe = RoutingProfile.objects.get(slug="moe")
    page = text_of(admin_client.get(f"{LIST}{moe.pk}/change/"))
    assert title in page
    assert not closed.search(re.sub(r"<h2[^>]*>|</h2>", "", page))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"slug": "code"}, "“code” is the name of an expert; choose another."),
        ({"slug": "auto"}, "Routing profile with this Slug already exists."),
        ({"slug": "two words"}, "Enter a valid “slug”"),
        ({"speed": "11"}, "less than or equal to 10"),
        ({"quality": "-1"}, "greater than or equal to 0"),
        ({"log_share": "101"}, "less than or equal to 100"),
        ({"defaults": '{"heat": 1}'}, "“heat” is not one of temperature"),
        ({"defaults": "[]"}, "Enter a JSON object"),
        ({"collections": "two words"}, "Enter a valid “slug”"),
        ({"breadth": "1"}, "greater than or equal to 2"),
        ({"breadth": "5", "breadth_most": "3"}, "cannot be fewer than those asked at first"),
        ({"agreement": "60"}, "less than or equal to 1"),
        ({"patience": "0"}, "greater than or equal to 1"),
    ],
)
def test_what_could_never_work_is_refused(admin_client, fields, words):
    Expert.objects.create(slug="code", name="Code")
    assert words in save(admin_client, **fields)
    assert not RoutingProfile.objects.filter(name="Legal").exists()


# The one that always exists


def test_auto_is_edited_but_neither_renamed_nor_disabled(admin_client, auto):
    path = f"{LIST}{auto.pk}/change/"
    assert "it cannot be renamed" in save(admin_client, path)
    assert "it cannot be disabled" in save(admin_client, path, slug="auto", enabled=None)
    assert save(admin_client, path, slug="auto", name="By itself") == ""
    auto.refresh_from_db()
    assert (auto.slug, auto.name, auto.enabled) == ("auto", "By itself", True)


def test_auto_is_not_deleted(admin_client, auto):
    assert 'class="deletelink"' not in admin_client.get(f"{LIST}{auto.pk}/change/").content.decode()
    page = admin_client.post(f"{LIST}{auto.pk}/delete/", {"post": "yes"}, follow=True)
    assert "Clients count on “auto”; it cannot be deleted." in text_of(page)
    everything = list(RoutingProfile.objects.values_list("pk", flat=True))
    chosen = {"action": "delete_selected", "_selected_action": everything, "post": "yes"}
    page = admin_client.post(LIST, chosen, follow=True)
    assert "Nothing was deleted; choose the others alone." in text_of(page)
    assert RoutingProfile.objects.count() == len(everything)


def test_others_are_deleted(admin_client):
    fast, best = RoutingProfile.objects.filter(slug__in=["auto-fast", "auto-best"])
    assert 'class="deletelink"' in admin_client.get(f"{LIST}{fast.pk}/change/").content.decode()
    admin_client.post(f"{LIST}{fast.pk}/delete/", {"post": "yes"})
    chosen = {"action": "delete_selected", "_selected_action": [best.pk]}
    assert "Are you sure" in text_of(admin_client.post(LIST, chosen))
    admin_client.post(LIST, chosen | {"post": "yes"})
    assert set(RoutingProfile.objects.values_list("slug", flat=True)) == {"auto", "auto-cheap", "moe", "cascade"}


def test_who_may_only_look_deletes_nothing(client, django_user_model, auto):
    from django.contrib.auth.models import Permission

    user = django_user_model.objects.create_user("worker", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename="view_routingprofile"))
    client.force_login(user)
    everything = RoutingProfile.objects.count()
    assert client.get(LIST).status_code == 200
    assert client.post(f"{LIST}{auto.pk}/delete/", {"post": "yes"}).status_code == 403
    other = RoutingProfile.objects.get(slug="auto-fast")
    assert client.post(f"{LIST}{other.pk}/delete/", {"post": "yes"}).status_code == 403
    client.post(LIST, {"action": "delete_selected", "_selected_action": [other.pk], "post": "yes"})
    assert RoutingProfile.objects.count() == everything
