"""The pages on which an administrator sees and purges answers that are given again."""

from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from gateway.caching.kept import Kept, Said
from gateway.models import ApiKey, CachedAnswer, CachePurge
from routing.models import RoutingProfile

pytestmark = pytest.mark.django_db

LIST = "admin:gateway_cachedanswer_changelist"
PURGE = "admin:gateway_cachedanswer_purge"


def kept(question="Who?", *, profile="", key=None, minutes=10, **fields):
    now = timezone.now()
    return CachedAnswer.objects.create(
        digest=f"{CachedAnswer.objects.count():064}",
        key=key,
        profile=profile,
        asked=profile or "general",
        expert="general",
        question=question,
        answer=Kept(digest="", said=(Said(content="The <b>team</b> lead."),)).answer(),
        created_at=now - timedelta(minutes=3),
        expires_at=now + timedelta(minutes=minutes),
        **fields,
    )


@pytest.fixture
def key():
    return ApiKey.objects.issue(name="webui")[0]


def test_the_list_tells_question_key_hits_and_age(admin_client, key):
    kept("Who approves sick leave?", key=key, hits=41)
    page = admin_client.get(reverse(LIST)).content.decode()
    for words in ("Who approves sick leave?", "webui", "41", "3\N{NO-BREAK SPACE}minutes", "RESPONSE_CACHE is off"):
        assert words in page


def test_what_has_expired_is_not_there(admin_client):
    kept("Gone?", minutes=-1)
    assert "Gone?" not in admin_client.get(reverse(LIST)).content.decode()


def test_an_answer_can_be_read_and_not_changed(admin_client):
    row = kept()
    page = admin_client.get(reverse("admin:gateway_cachedanswer_change", args=[row.pk])).content.decode()
    assert "The &lt;b&gt;team&lt;/b&gt; lead." in page
    assert "_save" not in page


def test_it_says_from_which_similarity_on_others_get_it(admin_client):
    RoutingProfile.objects.create(slug="close", name="Close", cache="semantic", cache_threshold=0.97)
    kept("Similar?", profile="close", embedder="e5", vector=[1.0, 0.0])
    assert "from 0.97" in admin_client.get(reverse(LIST)).content.decode()
    RoutingProfile.objects.filter(slug="close").update(cache="exact")
    assert "not any more" in admin_client.get(reverse(LIST)).content.decode()


def test_the_list_asks_the_database_as_often_for_many_answers(admin_client, django_assert_max_num_queries):
    RoutingProfile.objects.create(slug="close", name="Close", cache="semantic", cache_threshold=0.97)
    for _ in range(30):
        kept("Similar?", profile="close", embedder="e5", vector=[1.0, 0.0])
    with django_assert_max_num_queries(20):
        assert "from 0.97" in admin_client.get(reverse(LIST)).content.decode()


def test_deleting_those_selected_purges_them(admin_client):
    row, other = kept("Who?"), kept("What?")
    sent = {"action": "delete_selected", "_selected_action": [row.pk], "post": "yes"}
    assert admin_client.post(reverse(LIST), sent).status_code == 302
    assert list(CachedAnswer.objects.all()) == [other]
    assert CachePurge.objects.get().digests == [row.digest]


@pytest.mark.parametrize(
    ("profile", "with_key", "left"),
    [("", False, ()), ("auto", False, ("None", "Key's")), ("-", False, ("Auto",)), ("", True, ("None", "Auto"))],
)
def test_purging_by_profile_and_key(admin_client, key, profile, with_key, left):
    kept("None")
    kept("Auto", profile="auto")
    kept("Key's", key=key)
    sent = {"profile": profile, "key": key.pk if with_key else ""}
    answer = admin_client.post(reverse(PURGE), sent, follow=True)
    assert "purged; no process gives them again" in answer.content.decode()
    assert {row.question for row in CachedAnswer.objects.all()} == set(left)
    assert CachePurge.objects.count() == 1


def test_purging_asks_first(admin_client):
    kept()
    page = admin_client.get(reverse(PURGE)).content.decode()
    assert "of every profile" in page
    assert CachedAnswer.objects.exists()
    assert reverse(PURGE) in admin_client.get(reverse(LIST)).content.decode()


def test_who_may_not_delete_may_not_purge(client, django_user_model):
    from django.contrib.auth.models import Permission

    user = django_user_model.objects.create_user("viewer", password="x", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_cachedanswer"))
    client.force_login(user)
    assert client.post(reverse(PURGE), {}).status_code == 403
    assert reverse(PURGE) not in client.get(reverse(LIST)).content.decode()


def test_a_deleted_key_takes_its_answers_along(admin_client, key):
    kept(key=key)
    key_id = key.pk
    sent = {"post": "yes"}
    admin_client.post(reverse("admin:gateway_apikey_delete", args=[key_id]), sent)
    assert not CachedAnswer.objects.exists()
    assert CachePurge.objects.get().key_id == key_id


def test_a_profiles_page_has_its_cache(admin_client):
    profile = RoutingProfile.objects.get(slug="auto")
    page = admin_client.get(reverse("admin:routing_routingprofile_change", args=[profile.pk])).content.decode()
    assert 'name="cache"' in page
    assert "also those of keys whose texts are not kept" in page
