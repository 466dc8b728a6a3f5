"""Pages that undo nothing of what was changed after they were opened; every page: tests/moe_site."""

import threading

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection, transaction
from django.test import Client

from routing.models import Expert, InstalledModel, ModelServer, Replica, RoutingRule, RuleUse
from tests.adminforms import errors_of, filled

pytestmark = pytest.mark.django_db

RULES = "/admin/routing/routingrule/"
EXPERTS = "/admin/routing/expert/"
SERVERS = "/admin/routing/modelserver/"
STALE = "changed this after you had opened the page, and nothing of yours was stored"


@pytest.fixture
def code():
    return Expert.objects.create(slug="code", name="Code")


@pytest.fixture
def rule(code):
    return RoutingRule.objects.create(name="first", keywords=["sort"], expert=code)


@pytest.fixture
def server():
    return ModelServer.objects.create(name="one", base_url="http://127.0.0.1:9", enabled=False)


def page_of(row):
    return f"/admin/routing/{row._meta.model_name}/{row.pk}/change/"


def colleague(*permissions):
    """Return somebody else who is signed in."""
    user = User.objects.create_user("bert", is_staff=True, is_superuser=not permissions)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user)
    return client


class TestWhatIsTold:
    def test_who_changed_it_and_how_it_stands_now(self, admin_client, rule):
        math = Expert.objects.create(slug="math", name="Math <&>")
        opened = admin_client.get(page_of(rule))
        theirs = {"expert": str(math.pk), "stop": [], "keywords": "sort\nadd", "note": "Ask <b>Bert</b>"}
        other = colleague()
        assert other.post(page_of(rule), filled(other.get(page_of(rule)), **theirs)).status_code == 302

        refused = admin_client.post(page_of(rule), filled(opened, note="Mine", priority="7"))
        said = errors_of(refused)
        assert said.startswith("Bert (")
        assert STALE in said
        assert "“Note” is now: Ask <b>Bert</b> (below it stands as you had it)" in said
        assert "Ask <b>" not in refused.content.decode()
        assert "“Expert” is now: Math <&> (below it stands so too, as you had left it alone)" in said
        assert "“Keywords” is now: sort, add (below it stands so too, as you had left it alone)" in said
        assert "“Stop” is now: " in said
        assert "“Priority”" not in said

        sent = filled(refused)
        assert (sent["note"], sent["priority"], sent["expert"]) == (["\nMine"], ["7"], [str(math.pk)])
        assert "stop" not in sent
        assert admin_client.post(page_of(rule), sent).status_code == 302
        rule.refresh_from_db()
        assert (rule.note, rule.priority, rule.expert, rule.stop) == ("Mine", 7, math, False)
        assert rule.keywords == ["sort", "add"]

    def test_nobody_where_nothing_knows(self, admin_client, rule):
        opened = admin_client.get(page_of(rule))
        RoutingRule.objects.update(note="Changed by a script")
        assert errors_of(admin_client.post(page_of(rule), filled(opened, priority="7"))).startswith("Somebody changed")

    def test_again_where_it_was_changed_once_more(self, admin_client, rule):
        opened = admin_client.get(page_of(rule))
        RoutingRule.objects.update(note="One")
        refused = admin_client.post(page_of(rule), filled(opened, priority="7"))
        RoutingRule.objects.update(note="Two")
        assert "“Note” is now: Two" in errors_of(admin_client.post(page_of(rule), filled(refused)))
        rule.refresh_from_db()
        assert rule.priority == 100

    def test_beside_what_is_wrong_with_the_form_which_keeps_what_was_typed(self, admin_client, rule):
        opened = admin_client.get(page_of(rule))
        RoutingRule.objects.update(min_tokens=5)
        refused = admin_client.post(page_of(rule), filled(opened, min_tokens="many"))
        assert STALE in errors_of(refused)
        assert "Enter a whole number." in errors_of(refused)
        assert filled(refused)["min_tokens"] == ["many"]


class TestWhatIsNoChange:
    def test_what_programs_count(self, admin_client, rule):
        opened = admin_client.get(page_of(rule))
        RuleUse.objects.create(rule=rule, hits=3)
        assert admin_client.post(page_of(rule), filled(opened, note="Mine")).status_code == 302

    def test_what_is_found_on_a_server(self, admin_client, server):
        opened = admin_client.get(page_of(server))
        InstalledModel.objects.create(server=server, name="a:1b")
        assert admin_client.post(page_of(server), filled(opened, note="Mine")).status_code == 302

    def test_what_the_form_says_too(self, admin_client, rule):
        opened = admin_client.get(page_of(rule))
        RoutingRule.objects.update(note="Both")
        assert admin_client.post(page_of(rule), filled(opened, note="Both", priority="7")).status_code == 302

    @pytest.mark.parametrize("sent", [None, "", "nonsense", "a:b:c", "\N{SNOWMAN}"])
    def test_a_form_that_does_not_say_what_was_shown_is_stored(self, admin_client, rule, sent):
        form = filled(admin_client.get(page_of(rule)), note="Mine")
        RoutingRule.objects.update(priority=7)
        form = {name: value for name, value in form.items() if name != "_shown"} | ({"_shown": sent} if sent else {})
        assert admin_client.post(page_of(rule), form).status_code == 302
        rule.refresh_from_db()
        assert (rule.note, rule.priority) == ("Mine", 100)

    def test_adding_and_looking_send_nothing_back(self, admin_client, rule):
        assert 'name="_shown"' not in admin_client.get(f"{RULES}add/").content.decode()
        assert 'name="_shown"' in admin_client.get(f"{page_of(rule)}?_popup=1").content.decode()
        reader = colleague("view_routingrule", "view_expert")
        page = reader.get(page_of(rule))
        assert page.status_code == 200
        assert 'name="_shown"' not in page.content.decode()

    def test_a_row_that_is_gone_is_told_as_ever(self, admin_client, rule):
        opened = admin_client.get(page_of(rule))
        RoutingRule.objects.all().delete()
        answer = admin_client.post(page_of(rule), filled(opened), follow=True)
        assert "doesn’t exist. Perhaps it was deleted?" in answer.content.decode()
        assert admin_client.post(f"{RULES}what/change/", {}, follow=True).status_code == 200


class TestSecrets:
    def test_are_not_shown_and_what_was_left_empty_keeps_the_new_one(self, admin_client, server):
        ModelServer.objects.filter(pk=server.pk).update(api_key="sk-first")
        opened = admin_client.get(page_of(server))
        server.refresh_from_db()
        server.api_key, server.note = "sk-second", "Theirs"
        server.save()
        refused = admin_client.post(page_of(server), filled(opened, name="two"))
        assert "“Note” is now: Theirs" in errors_of(refused)
        assert "key" not in errors_of(refused)
        typed = admin_client.post(page_of(server), filled(opened, api_key="sk-third"))
        assert "“API key” is now: another, which is not shown" in errors_of(typed)
        assert not any("sk-" in page.content.decode() for page in (opened, refused, typed))
        assert admin_client.post(page_of(server), filled(refused)).status_code == 302
        server.refresh_from_db()
        assert (server.api_key, server.name, server.note) == ("sk-second", "two", "Theirs")


class TestInlines:
    def test_a_replica_that_was_added_meanwhile_is_told_and_stays(self, admin_client, code, server):
        opened = admin_client.get(page_of(code))
        replica = Replica.objects.create(expert=code, server=server, model="a:1b")
        refused = admin_client.post(page_of(code), filled(opened, name="Coding"))
        assert f"“Replicas” are now: {replica}." in errors_of(refused)
        assert admin_client.post(page_of(code), filled(refused)).status_code == 302
        code.refresh_from_db()
        assert (code.name, list(code.replicas.all())) == ("Coding", [replica])

    def test_a_replica_that_was_changed_meanwhile_is_not_changed_back(self, admin_client, code, server):
        replica = Replica.objects.create(expert=code, server=server, model="a:1b", concurrency=1)
        opened = admin_client.get(page_of(code))
        Replica.objects.update(concurrency=4)
        assert STALE in errors_of(admin_client.post(page_of(code), filled(opened, name="Coding")))
        replica.refresh_from_db()
        code.refresh_from_db()
        assert (replica.concurrency, code.name) == (4, "Code")

    def test_a_replica_that_was_deleted_meanwhile_does_not_come_back(self, admin_client, code, server):
        Replica.objects.create(expert=code, server=server, model="a:1b")
        opened = admin_client.get(page_of(code))
        Replica.objects.all().delete()
        refused = admin_client.post(page_of(code), filled(opened, name="Coding"))
        assert "“Replicas” are now: none." in errors_of(refused)
        assert not Replica.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_change_that_is_being_made_at_the_same_moment_is_waited_for(admin_client, rule):
    form = filled(admin_client.get(page_of(rule)), priority="7")
    answers = []

    def save():
        try:
            answers.append(admin_client.post(page_of(rule), form))
        finally:
            connection.close()

    saving = threading.Thread(target=save)
    with transaction.atomic():
        RoutingRule.objects.update(note="Theirs")
        saving.start()
        while saving.is_alive() and not someone_waits():
            saving.join(0.02)
    saving.join()
    assert "“Note” is now: Theirs" in errors_of(answers[0])
    rule.refresh_from_db()
    assert (rule.note, rule.priority) == ("Theirs", 100)


def someone_waits():
    with connection.cursor() as cursor:
        # Not pg_stat_activity, which stays for a transaction as it first was.
        cursor.execute(
            "SELECT count(*) FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid))"
        )
        return cursor.fetchone()[0]
