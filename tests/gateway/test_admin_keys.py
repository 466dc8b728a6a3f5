"""The admin's pages of keys and of groups of them, in process."""

import html
import re
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.contrib.sessions.models import Session
from django.db.models.signals import pre_save
from django.utils import timezone

from gateway.auth import load
from gateway.models import ApiKey, KeyGroup, KeyUse, key_digest
from gateway.policy import Scope
from tests.adminforms import filled
from tests.knowledge.rows import collection_of

pytestmark = pytest.mark.django_db

KEYS, GROUPS = "/admin/gateway/apikey/", "/admin/gateway/keygroup/"
FORM = {"name": "app", "priority": "normal"}


def shown_key(response):
    """Return the text of a key that a page shows."""
    return re.search(r"<code[^>]*>(sk-moe-[^<]+)</code>", response.content.decode())[1]


def told(response):
    """Return what a page says, as text."""
    return html.unescape(re.sub(r"<[^>]+>", " ", response.content.decode()))


def seen(response):
    """Return what the form of a page sends back, by which it is known whether the row is still the same."""
    return re.search(r'name="_shown" value="([^"]+)"', response.content.decode())[1]


@contextmanager
def revoked_before_it_is_stored():
    """Have a key revoked by somebody else after a change of it was read and before it is written."""

    def revoke(instance, **_):
        ApiKey.objects.filter(pk=instance.pk).update(revoked_at=timezone.now())

    pre_save.connect(revoke, sender=ApiKey)
    try:
        yield
    finally:
        pre_save.disconnect(revoke, sender=ApiKey)


class TestChanging:
    def test_one_that_is_revoked_meanwhile_stays_revoked(self, admin_client):
        row, _ = ApiKey.objects.issue(name="app")
        with revoked_before_it_is_stored():
            admin_client.post(f"{KEYS}{row.pk}/change/", FORM | {"note": "of the blue team"})
        row.refresh_from_db()
        assert (row.note, row.state) == ("of the blue team", "revoked")

    def test_times_are_those_of_the_clock_of_its_other_columns(self, admin_client, settings):
        settings.TIME_ZONE = "Asia/Tokyo"
        row, _ = ApiKey.objects.issue(name="app")
        at = datetime(2026, 11, 1, 20, 30, tzinfo=UTC)
        KeyUse.objects.create(key=row, last_used_at=at)
        ApiKey.objects.update(revoked_at=at)
        page = told(admin_client.get(f"{KEYS}{row.pk}/change/"))
        assert page.count("2026-11-02 05:30") == 2
        ApiKey.objects.update(revoked_at=None, previous_until=at.replace(year=2996), previous_prefix="sk-moe-former")
        for address in (f"{KEYS}{row.pk}/change/", f"{KEYS}{row.pk}/rotate/"):
            assert "sk-moe-former…, the one before, works until 2996-11-02 05:30." in told(admin_client.get(address))

    def test_what_a_colleague_changed_meanwhile_is_not_undone(self, admin_client):
        row, _ = ApiKey.objects.issue(name="app")
        change = f"{KEYS}{row.pk}/change/"
        opened = FORM | {"_shown": seen(admin_client.get(change))}
        narrowed = opened | {"allowed_models": "auto", "scopes": ["chat"], "requests_per_minute": "5"}
        assert admin_client.post(change, narrowed).status_code == 302
        refused = admin_client.post(change, opened | {"note": "of the blue team"})
        assert "nothing of yours was stored" in told(refused)
        assert "“Requests per minute” is now: 5 " in told(refused)
        row.refresh_from_db()
        assert (row.allowed_models, row.scopes, row.requests_per_minute, row.note) == (["auto"], ["chat"], 5, "")
        assert admin_client.post(change, filled(refused)).status_code == 302
        row.refresh_from_db()
        kept = (["auto"], ["chat"], 5, "of the blue team")
        assert (row.allowed_models, row.scopes, row.requests_per_minute, row.note) == kept

    def test_a_form_that_was_refused_for_another_reason_is_stored_when_it_is_right(self, admin_client):
        row, _ = ApiKey.objects.issue(name="app", expires_at=timezone.now() + timedelta(days=1), note="a\nb")
        change = f"{KEYS}{row.pk}/change/"
        form = FORM | {"_shown": seen(admin_client.get(change)), "tokens_per_day": "0"}
        refused = admin_client.post(change, form)
        assert "greater than or equal to 1" in told(refused)
        assert admin_client.post(change, form | {"tokens_per_day": "7", "_shown": seen(refused)}).status_code == 302

    def test_a_new_text_is_no_change_of_what_the_page_shows(self, admin_client):
        row, _ = ApiKey.objects.issue(name="app")
        opened = FORM | {"note": "x", "_shown": seen(admin_client.get(f"{KEYS}{row.pk}/change/"))}
        row.rotate(timedelta(hours=1))
        assert admin_client.post(f"{KEYS}{row.pk}/change/", opened).status_code == 302

    @pytest.mark.parametrize(("zone", "day"), [("America/New_York", "9999-12-31"), ("Asia/Tokyo", "0001-01-01")])
    def test_an_end_that_the_database_cannot_tell_again_is_refused(self, admin_client, settings, zone, day):
        settings.TIME_ZONE = zone
        clock = "23:59:59" if day > "5" else "00:00:00"
        answer = admin_client.post(f"{KEYS}add/", FORM | {"expires_at_0": day, "expires_at_1": clock})
        assert "The year must be from 2000 to 9998" in told(answer)
        assert load() == {}


class TestMaking:
    def test_a_key_is_shown_once_and_is_nowhere_else(self, admin_client, caplog):
        answer = admin_client.post(f"{KEYS}add/", FORM)
        text = shown_key(answer)
        assert "no-store" in answer.headers["Cache-Control"]
        assert load()[key_digest(text)].name == "app"
        row = ApiKey.objects.get()
        secret = text[len(row.prefix) :]
        pages = [admin_client.get(path).content.decode() for path in (KEYS, f"{KEYS}{row.pk}/change/", "/admin/")]
        history = [f"{one.change_message} {one.object_repr}" for one in LogEntry.objects.all()]
        sessions = [str(one.get_decoded()) for one in Session.objects.all()]
        assert [where for where in (*pages, *history, *sessions, caplog.text) if secret in where] == []
        assert row.digest not in "".join(pages)

    def test_a_policy_is_given_one_line_for_each(self, admin_client):
        form = FORM | {
            "group": "staff",
            "scopes": ["chat", "knowledge"],
            "allowed_models": "auto\r\n coding \r\n\r\nauto",
            "allowed_collections": "handbook: read\nteam-*: write",
            "allowed_addresses": "10.0.0.0/8\n::1",
            "tokens_per_day": "1000",
        }
        text = shown_key(admin_client.post(f"{KEYS}add/", form))
        (policy,) = load()[key_digest(text)].policies
        assert policy.scopes == {Scope.CHAT, Scope.KNOWLEDGE}
        assert policy.models == ("auto", "coding")
        assert [pattern for pattern, _ in policy.collections] == ["handbook", "team-*"]
        assert [str(one) for one in policy.networks] == ["10.0.0.0/8", "::1/128"]
        assert policy.limits.tokens_per_day == 1000

    @pytest.mark.parametrize(
        ("field", "lines", "says"),
        [
            ("allowed_collections", "handbook: read\nteam: look", "“team: look” must end with read, write or manage."),
            ("allowed_collections", "two words: read", "“two words: read” names no collection."),
            ("allowed_addresses", "10.0.0.0/8\nthe office", "“the office” is no address and no network"),
            ("scopes", "everything", "everything is not one of the available choices"),
            ("tokens_per_day", "0", "greater than or equal to 1"),
            ("cost_per_day", "-1", "not less than 0"),
        ],
    )
    def test_what_cannot_be_is_refused_with_a_reason(self, admin_client, field, lines, says):
        answer = admin_client.post(f"{KEYS}add/", FORM | {field: lines})
        assert says in told(answer)
        assert not ApiKey.objects.exists()

    def test_what_is_about_nothing_is_told_and_kept(self, admin_client):
        row, _ = ApiKey.objects.issue(name="app")
        form = FORM | {"allowed_models": "auto\nlama3", "allowed_collections": "handbuch: read"}
        answer = admin_client.post(f"{KEYS}{row.pk}/change/", form, follow=True)
        assert "No model is called lama3 at the moment." in told(answer)
        assert "No collection is called handbuch at the moment." in told(answer)
        assert "No model is called auto" not in told(answer)
        row.refresh_from_db()
        assert row.allowed_models == ["auto", "lama3"]


class TestPage:
    def test_it_says_what_the_key_may_do_with_what_there_is(self, admin_client):
        collection_of("handbook", everyone=3)
        collection_of("team-a", everyone=1)
        collection_of("wages", everyone=0)
        KeyGroup.objects.create(name="staff", requests_per_minute=100, allowed_addresses=["10.0.0.0/8"])
        row, _ = ApiKey.objects.issue(
            name="app",
            group="staff",
            scopes=["chat", "knowledge"],
            allowed_models=["auto-*"],
            allowed_collections=["*: write"],
            tokens_per_day=5000,
        )
        page = told(admin_client.get(f"{KEYS}{row.pk}/change/"))
        for words in (
            "Scopes  chat, knowledge ",
            "Models  auto-fast, auto-best, auto-cheap ",
            "handbook (write), team-a (read)",
            "those of the group “staff” together  10.0.0.0/8",
            "Limits, its own  5,000 tokens a day",
            "Limits, those of the group “staff” together  100 requests a minute",
        ):
            assert words in page, words
        assert "wages" not in page

    @pytest.mark.parametrize(("end", "state"), [("revoked_at", "revoked"), ("expires_at", "expired")])
    def test_it_says_that_one_that_works_no_more_may_do_nothing(self, admin_client, end, state):
        row, _ = ApiKey.objects.issue(name="app")
        row.rotate(timedelta(hours=1))
        ApiKey.objects.update(**{end: timezone.now()})
        page = told(admin_client.get(f"{KEYS}{row.pk}/change/"))
        assert f"None works: it is {state}." in page
        assert f"nothing: it is {state}" in page
        assert "works until" not in page

    def test_a_former_text_whose_time_is_over_is_not_said_to_work(self, admin_client):
        row, _ = ApiKey.objects.issue(name="app")
        row.rotate(timedelta(hours=1))
        ApiKey.objects.update(previous_until=timezone.now())
        assert "works until" not in told(admin_client.get(f"{KEYS}{row.pk}/change/"))

    def test_the_list_tells_state_and_last_use_and_is_filtered(self, admin_client, admin_user):
        row, _ = ApiKey.objects.issue(name="used", owner=admin_user)
        KeyUse.objects.create(key=row, last_used_at=timezone.now(), last_address="10.1.2.3")
        ApiKey.objects.issue(name="lapsed", expires_at=timezone.now())
        ApiKey.objects.issue(name="gone")[0].revoke()
        page = told(admin_client.get(KEYS))
        assert "from 10.1.2.3" in page
        assert "never" in page
        for state, name in (("active", "used"), ("expired", "lapsed"), ("revoked", "gone")):
            found = admin_client.get(KEYS, {"state": state}).context["cl"].queryset
            assert [one.name for one in found] == [name]
        assert [one.name for one in admin_client.get(KEYS, {"q": "admin"}).context["cl"].queryset] == ["used"]

    def test_the_list_asks_the_database_as_often_for_many_keys(self, admin_client, django_assert_max_num_queries):
        for number in range(30):
            ApiKey.objects.issue(name=str(number), group=str(number))
        with django_assert_max_num_queries(20):
            admin_client.get(KEYS)


class TestRotating:
    def test_the_new_text_is_shown_once(self, admin_client):
        row, former = ApiKey.objects.issue(name="app")
        assert "stays the same key" in told(admin_client.get(f"{KEYS}{row.pk}/rotate/"))
        answer = admin_client.post(f"{KEYS}{row.pk}/rotate/", {"hours": "1"})
        text, known = shown_key(answer), load()
        assert "no-store" in answer.headers["Cache-Control"]
        assert {known[key_digest(one)].key_id for one in (former, text)} == {row.pk}
        assert known[key_digest(former)].expires_at - timezone.now() <= timedelta(hours=1)
        page = admin_client.get(f"{KEYS}{row.pk}/change/").content.decode()
        assert f"{row.prefix}…, the one before, works until" in page
        assert text not in page
        assert text[20:] not in str([one.change_message for one in LogEntry.objects.all()])

    def test_a_form_that_is_sent_twice_counts_once(self, admin_client):
        row, former = ApiKey.objects.issue(name="app")
        rotate = f"{KEYS}{row.pk}/rotate/"
        page = admin_client.get(rotate).content.decode()
        form = {"hours": "24", "known": re.search(r'name="known" value="([^"]+)"', page)[1]}
        text = shown_key(admin_client.post(rotate, form))
        assert "got a new text meanwhile" in told(admin_client.post(rotate, form, follow=True))
        assert {key_digest(one) for one in (former, text)} == set(load())

    def test_the_page_says_that_the_text_before_ends(self, admin_client):
        row, _ = ApiKey.objects.issue(name="app")
        assert "ends at once" not in told(admin_client.get(f"{KEYS}{row.pk}/rotate/"))
        former = row.prefix
        row.rotate(timedelta(hours=1))
        page = told(admin_client.get(f"{KEYS}{row.pk}/rotate/"))
        assert f"{former}…, the one before, works until" in page
        assert "With a new text it ends at once" in page

    def test_looking_at_the_page_changes_nothing(self, admin_client):
        row, text = ApiKey.objects.issue(name="app")
        admin_client.get(f"{KEYS}{row.pk}/rotate/")
        admin_client.post(f"{KEYS}{row.pk}/rotate/", {"hours": "3"})  # none of the choices
        assert key_digest(text) in load()
        assert ApiKey.objects.get().previous_digest is None

    def test_what_works_no_more_gets_none(self, admin_client):
        row, _ = ApiKey.objects.issue(name="app")
        row.revoke()
        answer = admin_client.post(f"{KEYS}{row.pk}/rotate/", {"hours": "1"}, follow=True)
        assert "a new text would not work either" in told(answer)

    @pytest.mark.parametrize(("permission", "status"), [("view_apikey", 403), ("change_apikey", 200)])
    def test_it_takes_the_right_to_change(self, client, django_user_model, permission, status):
        user = django_user_model.objects.create_user("ada", is_staff=True)
        user.user_permissions.add(Permission.objects.get(codename=permission))
        client.force_login(user)
        row, _ = ApiKey.objects.issue(name="app", group="staff")
        assert client.get(f"{KEYS}{row.pk}/rotate/").status_code == status
        assert client.get(f"{KEYS}{row.pk}/change/").status_code == 200

    def test_who_may_only_look_revokes_nothing(self, client, django_user_model):
        clerk = django_user_model.objects.create_user("clerk", is_staff=True)
        clerk.user_permissions.add(Permission.objects.get(codename="view_apikey"))
        client.force_login(clerk)
        row, _ = ApiKey.objects.issue(name="app")
        client.post(KEYS, {"action": "revoke", "_selected_action": [row.pk], "post": "yes"})
        row.refresh_from_db()
        assert row.state == "active"

    def test_revoking_several(self, admin_client):
        rows = [ApiKey.objects.issue(name=name)[0] for name in "ab"]
        form = {"action": "revoke", "_selected_action": [row.pk for row in rows]}
        page = admin_client.post(KEYS, form)
        assert "Revoke these keys?" in page.rendered_content
        assert {row.state for row in ApiKey.objects.all()} == {"active"}
        form["post"] = "yes"
        assert "2 keys revoked" in told(admin_client.post(KEYS, form, follow=True))
        assert load() == {}
        assert "Those keys were revoked before." in told(admin_client.post(KEYS, form, follow=True))


class TestGroups:
    def test_those_that_stand_on_keys_without_rules_are_offered(self, admin_client):
        KeyGroup.objects.create(name="staff")
        for group in ("staff", "R & D", ""):
            ApiKey.objects.issue(name="app", group=group)
        page = admin_client.get(GROUPS).content.decode()
        assert f'<a href="{GROUPS}add/?name=R%20%26%20D">R &amp; D</a>' in page
        assert "?name=staff" not in page
        offered = admin_client.get(f"{GROUPS}add/?name=R%20%26%20D").content.decode()
        assert 'value="R &amp; D"' in offered
        assert '<option value="R &amp; D">' in offered
        groups = admin_client.get(f"{KEYS}add/").content.decode()
        assert '<option value="staff">' in groups

    def test_its_policy_holds_for_its_keys(self, admin_client):
        _, text = ApiKey.objects.issue(name="app", group="staff")
        admin_client.post(f"{GROUPS}add/", {"name": "staff", "scopes": ["chat"], "requests_per_minute": "5"})
        caller = load()[key_digest(text)]
        assert [policy.subject for policy in caller.policies] == [f"key:{caller.key_id}", "group:staff"]
        assert not caller.may(Scope.EMBEDDINGS)
        page = told(admin_client.get(GROUPS))
        assert "5 requests a minute" in page

    def test_what_a_colleague_changed_meanwhile_is_not_undone(self, admin_client):
        group = KeyGroup.objects.create(name="staff")
        change = f"{GROUPS}{group.pk}/change/"
        opened = {"name": "staff", "_shown": seen(admin_client.get(change))}
        assert admin_client.post(change, opened | {"tokens_per_day": "5"}).status_code == 302
        assert "nothing of yours was stored" in told(admin_client.post(change, opened | {"note": "All of us"}))
        group.refresh_from_db()
        assert (group.tokens_per_day, group.note) == (5, "")

    def test_wrong_lines_are_refused_here_too(self, admin_client):
        answer = admin_client.post(f"{GROUPS}add/", {"name": "staff", "allowed_collections": "x: y"})
        assert "must end with read, write or manage" in told(answer)
        assert not KeyGroup.objects.exists()

    @pytest.mark.parametrize("together", [False, True])
    @pytest.mark.parametrize("confirmed", [{}, {"post": "yes"}])
    def test_one_that_stands_on_keys_is_not_deleted_and_these_are_named(self, admin_client, together, confirmed):
        group = KeyGroup.objects.create(name="staff", requests_per_minute=5)
        _, text = ApiKey.objects.issue(name="the <app>", group="staff")
        ApiKey.objects.issue(name="a stranger", group="others")
        chosen = {"action": "delete_selected", "_selected_action": [group.pk]} if together else {}
        address = GROUPS if together else f"{GROUPS}{group.pk}/delete/"
        page = told(admin_client.post(address, chosen | confirmed, follow=True))
        assert "its API keys (1: the <app>" in page
        assert "a stranger" not in page
        assert load()[key_digest(text)].policies[1].limits.requests_per_minute == 5

    def test_of_many_keys_some_are_named(self, admin_client):
        group = KeyGroup.objects.create(name="staff")
        for number in range(21):
            ApiKey.objects.issue(name=f"app {number:02}", group="staff")
        page = told(admin_client.post(f"{GROUPS}{group.pk}/delete/", {"post": "yes"}, follow=True))
        assert "its API keys (21: app 00" in page
        assert "app 19" in page
        assert "and others)" in page
        assert "app 20" not in page

    def test_one_whose_keys_are_gone_is_deleted(self, admin_client):
        group = KeyGroup.objects.create(name="staff")
        ApiKey.objects.issue(name="app", group="staff")[0].revoke()
        admin_client.post(f"{GROUPS}{group.pk}/delete/", {"post": "yes"})
        assert not KeyGroup.objects.exists()

    def test_one_that_stands_on_keys_keeps_its_name(self, admin_client):
        group = KeyGroup.objects.create(name="staff")
        key, _ = ApiKey.objects.issue(name="app", group="staff")
        change = f"{GROUPS}{group.pk}/change/"
        assert "1 API keys are of the group 'staff'" in told(admin_client.post(change, {"name": "people"}))
        assert admin_client.post(change, {"name": "staff", "note": "All of us"}).status_code == 302
        key.revoke()
        assert admin_client.post(change, {"name": "people"}).status_code == 302
        assert [one.name for one in KeyGroup.objects.all()] == ["people"]
