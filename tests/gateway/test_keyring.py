"""Keys as a resource: /v1/keys, for programs of administrators."""

import json
import logging
from datetime import timedelta

import pytest
from django.contrib.auth import get_user_model
from django.db.models.signals import pre_save
from django.test import Client
from django.utils import timezone

from gateway.auth import keys, load
from gateway.models import ApiKey, KeyGroup, KeyUse, key_digest

pytestmark = pytest.mark.django_db

KEYS = "/v1/keys"


class Api:
    """The API as whoever holds a key uses it."""

    def __init__(self, text):
        self.text = text
        self.client = Client()

    def __call__(self, method, path=KEYS, body=None):
        keys.forget()  # what was changed in this test's transaction is known to nobody else
        headers = {"Authorization": f"Bearer {self.text}"}
        data = b"" if body is None else json.dumps(body).encode()
        return self.client.generic(method, path, data=data, content_type="application/json", headers=headers)


def holder(**fields):
    key, text = ApiKey.objects.issue(**{"name": "ops", "scopes": ["admin"]} | fields)
    return key, Api(text)


@pytest.fixture
def api():
    return holder()[1]


def made(api, **fields):
    answer = api("POST", body={"name": "app"} | fields)
    assert answer.status_code == 201, answer.content
    return answer.json()


class TestMaking:
    def test_the_text_is_told_once_and_kept_nowhere(self, api, caplog):
        caplog.set_level(logging.DEBUG)
        answer = api("POST", body={"name": "app"})
        told = answer.json()
        assert answer.headers["Cache-Control"] == "no-store"
        assert load()[key_digest(told["key"])].name == "app"
        assert told["key"].startswith(told["prefix"])
        secret = told["key"][len(told["prefix"]) :]
        assert secret not in api("GET", f"{KEYS}/{told['id']}").content.decode()
        assert secret not in api("GET").content.decode()
        assert secret not in str(ApiKey.objects.values_list())
        assert secret not in caplog.text

    def test_with_everything(self, api):
        get_user_model().objects.create_user("ada")
        wish = {
            "group": "sales",
            "owner": "ada",
            "note": "for the shop",
            "priority": "high",
            "scopes": ["chat", "knowledge"],
            "allowed_models": ["auto"],
            "allowed_collections": ["*: read"],
            "allowed_addresses": ["10.0.0.0/8"],
            "requests_per_minute": 60,
            "tokens_per_day": 100000,
            "cost_per_month": "12.500000",
            "keeps_texts": True,
            "expires_at": "2099-01-01T00:00:00Z",
        }
        told = made(api, **wish)
        assert {name: told[name] for name in wish} == wish
        assert (told["state"], told["last_used_at"], told["revoked_at"]) == ("active", None, None)
        row = ApiKey.objects.get(pk=told["id"])
        assert row.policy.limits.requests_per_minute == 60

    @pytest.mark.parametrize(
        ("wish", "says"),
        [
            ({"scopes": ["chatt"]}, "There are: chat, embeddings, knowledge, route, metrics"),
            ({"scopes": ["admin"]}, "Only an administrator hands it out"),
            ({"scopes": "chat"}, "scopes"),
            ({"allowed_collections": ["handbook: look"]}, "must end with read, write or manage"),
            ({"allowed_collections": ["a b: read"]}, "names no collection"),
            ({"allowed_addresses": ["10.0.0.0/99"]}, "no address and no network"),
            ({"allowed_models": [" "]}, "allowed_models"),
            ({"requests_per_minute": 0}, "requests_per_minute"),
            ({"cost_per_day": "-1"}, "not less than 0"),
            ({"owner": "nobody"}, "There is no user 'nobody'"),
            ({"name": ""}, "name"),
            ({"name": "app\nsk-moe-abcdef…  active"}, "'name': It must be one line"),
            ({"group": "sales\x1b[2J"}, "'group': It must be one line"),
            ({"digest": "x"}, "digest"),
            ({"prefix": "x"}, "'prefix' cannot be set"),
            ({"revoked_at": None}, "'revoked_at' cannot be set"),
            ({"priority": "highest"}, "priority"),
        ],
    )
    def test_what_cannot_be_is_refused_with_a_reason(self, api, wish, says):
        answer = api("POST", body={"name": "app"} | wish)
        assert answer.status_code == 400
        assert says in answer.json()["error"]["message"]
        assert ApiKey.objects.count() == 1

    def test_a_group_that_nobody_knows_is_told(self, api):
        KeyGroup.objects.create(name="marketing", requests_per_minute=5)
        assert "warnings" not in made(api, group="marketing")
        (warning,) = made(api, group="marketting")["warnings"]
        assert warning.startswith("No other key is of the group marketting")
        assert "warnings" not in made(api, group="marketting")

    def test_what_is_about_nothing_is_told(self, api):
        told = made(api, allowed_models=["auto", "lama3"], allowed_collections=["hand-book: read"])
        assert [warning.split(" is called ")[1] for warning in told["warnings"]] == [
            "lama3 at the moment.",
            "hand-book at the moment.",
        ]

    @pytest.mark.parametrize("fields", [{"allowed_models": ["auto"]}, {"allowed_collections": ["*: read"]}])
    def test_who_is_narrowed_makes_nothing_wider(self, fields):
        own, api = holder(**fields)
        app, _ = ApiKey.objects.issue(name="app")
        assert api("POST", body={"name": "app"}).status_code == 403
        assert api("PATCH", f"{KEYS}/{app.pk}", {"note": "x"}).status_code == 403
        assert api("POST", f"{KEYS}/{app.pk}/rotate").status_code == 403
        assert api("GET").status_code == api("DELETE", f"{KEYS}/{app.pk}").status_code == 200
        assert api("POST", f"{KEYS}/{own.pk}/rotate").status_code == 200

    def test_who_is_narrowed_by_its_group_neither(self):
        KeyGroup.objects.create(name="ops", allowed_models=["auto"])
        assert holder(group="ops")[1]("POST", body={"name": "app"}).status_code == 403


class TestLooking:
    def test_lists_are_in_pages_and_by_group_and_state(self, api):
        first, second = made(api, group="sales"), made(api)
        api("DELETE", f"{KEYS}/{second['id']}")
        page = api("GET", f"{KEYS}?limit=2").json()
        assert (len(page["data"]), page["has_more"]) == (2, True)
        assert [one["id"] for one in api("GET", f"{KEYS}?after={first['id']}").json()["data"]] == [second["id"]]
        assert [one["id"] for one in api("GET", f"{KEYS}?group=sales").json()["data"]] == [first["id"]]
        assert [one["id"] for one in api("GET", f"{KEYS}?state=revoked").json()["data"]] == [second["id"]]
        assert len(api("GET", f"{KEYS}?state=active").json()["data"]) == 2

    def test_when_it_was_used_last(self, api):
        key = ApiKey.objects.get()
        now = timezone.now()
        KeyUse.objects.create(key=key, last_used_at=now, last_address="10.1.2.3")
        told = api("GET", f"{KEYS}/{key.pk}").json()
        assert (told["last_used_at"][:19], told["last_address"]) == (now.isoformat()[:19], "10.1.2.3")

    @pytest.mark.parametrize("query", ["state=gone", "colour=red", "limit=0", "after=x"])
    def test_a_filter_that_nobody_reads_is_refused(self, api, query):
        assert api("GET", f"{KEYS}?{query}").status_code == 400

    @pytest.mark.parametrize("number", ["0", "999999999", "9" * 40])
    def test_what_is_not_there(self, api, number):
        answer = api("GET", f"{KEYS}/{number}")
        assert (answer.status_code, "There is no key" in answer.json()["error"]["message"]) == (404, True)


class TestChanging:
    def test_a_policy_is_changed_and_the_rest_stays(self, api):
        told = made(api, group="sales", scopes=["chat"])
        changed = api("PATCH", f"{KEYS}/{told['id']}", {"scopes": ["embeddings"], "tokens_per_minute": 5}).json()
        assert (changed["group"], changed["scopes"], changed["tokens_per_minute"]) == ("sales", ["embeddings"], 5)
        assert "key" not in changed
        assert load()[key_digest(told["key"])].policies[0].limits.tokens_per_minute == 5

    def test_one_that_is_revoked_meanwhile_stays_revoked(self, api):
        told = made(api)

        def revoke(instance, **_):
            ApiKey.objects.filter(pk=instance.pk).update(revoked_at=timezone.now())

        pre_save.connect(revoke, sender=ApiKey)
        try:
            api("PATCH", f"{KEYS}/{told['id']}", {"note": "of the blue team"})
        finally:
            pre_save.disconnect(revoke, sender=ApiKey)
        row = ApiKey.objects.get(pk=told["id"])
        assert (row.note, row.state) == ("of the blue team", "revoked")

    def test_its_end_is_held_to_the_same_rule_as_in_admin(self, api):
        answer = api("POST", body={"name": "app", "expires_at": "9999-01-01T00:00:00Z"})
        assert answer.status_code == 400
        assert "from 2000 to 9998" in answer.json()["error"]["message"]

    def test_revoking_is_for_good_and_the_row_stays(self, api):
        told = made(api)
        gone = api("DELETE", f"{KEYS}/{told['id']}").json()
        assert gone["state"] == "revoked"
        assert api("DELETE", f"{KEYS}/{told['id']}").json()["revoked_at"] == gone["revoked_at"]
        assert key_digest(told["key"]) not in load()
        assert api("PATCH", f"{KEYS}/{told['id']}", {"note": "was ours"}).json()["state"] == "revoked"

    @pytest.mark.parametrize(
        ("method", "path", "body"), [("PATCH", "", {"note": "x"}), ("DELETE", "", None), ("POST", "/rotate", None)]
    )
    def test_who_may_administer_is_for_people_to_say(self, api, method, path, body):
        other, _ = holder(name="other")
        answer = api(method, f"{KEYS}/{other.pk}{path}", body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "permission_denied")
        other.refresh_from_db()
        assert (other.note, other.state) == ("", "active")


class TestRotating:
    def test_both_texts_work_for_as_long_as_asked(self, api):
        told = made(api)
        answer = api("POST", f"{KEYS}/{told['id']}/rotate", {"overlap_seconds": 3600})
        new = answer.json()
        assert answer.headers["Cache-Control"] == "no-store"
        assert (new["id"], new["previous_prefix"]) == (told["id"], told["prefix"])
        known = load()
        assert {known[key_digest(text)].key_id for text in (told["key"], new["key"])} == {told["id"]}
        left = known[key_digest(told["key"])].expires_at - timezone.now()
        assert timedelta(minutes=59) < left <= timedelta(hours=1)

    def test_at_once(self, api):
        told = made(api)
        assert api("POST", f"{KEYS}/{told['id']}/rotate", {"overlap_seconds": 0}).json()["previous_until"] is None
        assert key_digest(told["key"]) not in load()

    def test_a_key_may_rotate_itself(self):
        key, api = holder()
        api.text = api("POST", f"{KEYS}/{key.pk}/rotate", {"overlap_seconds": 0}).json()["key"]
        assert api("GET").status_code == 200

    def test_what_is_revoked_is_not(self, api):
        told = made(api)
        api("DELETE", f"{KEYS}/{told['id']}")
        answer = api("POST", f"{KEYS}/{told['id']}/rotate")
        assert (answer.status_code, "revoked" in answer.json()["error"]["message"]) == (409, True)

    @pytest.mark.parametrize("body", [{"overlap": 0}, {"overlap_seconds": 0, "x": 1}, [], ["overlap_seconds"], "now"])
    def test_what_nobody_reads_is_refused_rather_than_passed_over(self, api, body):
        """A text that leaked would work for another day."""
        told = made(api)
        assert api("POST", f"{KEYS}/{told['id']}/rotate", body).status_code == 400
        assert key_digest(told["key"]) in load()

    @pytest.mark.parametrize("body", [{"overlap_seconds": -1}, {"overlap_seconds": 1e9}, {"overlap_seconds": "x"}])
    def test_a_wrong_overlap_is_refused(self, api, body):
        assert api("POST", f"{KEYS}/{made(api)['id']}/rotate", body).status_code == 400
