"""The admin's pages of routing programs, in process."""

import html
import re

import pytest
from django.contrib.auth.models import Permission

from routing.admin import programs
from routing.catalog import catalog
from routing.models import Expert, ModelServer, Replica, RouterProgram
from tests.routing.programs import INSTRUCTIONS, measured_program

pytestmark = pytest.mark.django_db

LIST = "/admin/routing/routerprogram/"


@pytest.fixture
def started(monkeypatch):
    """What would be run in processes."""
    found = []
    monkeypatch.setattr(programs, "run_start", lambda version, arguments: found.append((version, arguments)))
    return found


@pytest.fixture
def _answering():
    server = ModelServer.objects.create(name="box", kind="ollama", base_url="http://127.0.0.1:1")
    for number, slug in enumerate(("code", "math")):
        expert = Expert.objects.create(slug=slug, name=slug.title(), is_default=not number)
        Replica.objects.create(expert=expert, server=server, model="small:1b")
    catalog.forget()


def words_of(response):
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode())))


def act(client, action, *rows, **fields):
    return client.post(LIST, {"action": action, "_selected_action": [row.pk for row in rows]} | fields, follow=True)


def active():
    return [version.pk for version in RouterProgram.objects.filter(active=True)]


# Looking


def test_the_list_tells_by_how_much_they_help(admin_client):
    program = measured_program(32)
    RouterProgram.objects.create()
    words = words_of(admin_client.get(LIST))
    for expected in (str(program), "compiled and evaluated", "80.0%", "+55.0 points (+", "is being compiled"):
        assert expected in words, expected
    assert "Add program" not in words
    assert f'href="{LIST}optimize/"' in admin_client.get(LIST).content.decode()


def test_a_version_shows_what_it_says_and_what_was_measured(admin_client):
    program = measured_program(32)
    page = admin_client.get(f"{LIST}{program.pk}/change/")
    words = words_of(page)
    for expected in (
        "code, math",
        "Held-out examples 40, 5 of them your own",
        "The classifier alone 25.0% right, 95 % interval 14.2% to 40.2%",
        "The program alone, without a limit of time 80.0% right",
        "Both, as in production 80.0% right",
        "Better than the classifier alone +55.0 points, 95 % interval +",
        "on 40 examples: better",
        "A request waits, at the median 200 ms",
        "Compiled with 100 examples, 12 of them your own",
        "Programs tried 11, ended before it was through",
        "Took 61 s",
        INSTRUCTIONS,
        "<conversation> Fix it </conversation> code 0.9",
    ):
        assert expected in words, expected
    assert "<what>" not in page.content.decode()


@pytest.mark.parametrize("metrics", [{}, [], "text", {"stage": 3, "outcomes": [1], "shares": [], "training": {}}])
def test_whatever_was_stored_can_be_looked_at(admin_client, metrics):
    program = RouterProgram.objects.create(metrics=metrics, status="done", demos=[{}], experts=["code"])
    assert admin_client.get(LIST).status_code == 200
    for page in ("change", "activate", "now"):
        assert admin_client.get(f"{LIST}{program.pk}/{page}/").status_code == 200


def test_a_run_shows_how_far_it_is(admin_client):
    program = RouterProgram.objects.create(progress="12 s: Candidate 1: 40.0 % right.")
    page = admin_client.get(f"{LIST}{program.pk}/change/")
    assert "12 s: Candidate 1: 40.0 % right." in words_of(page)
    assert "refreshing.js" in page.content.decode()
    assert 'data-status="running"' in admin_client.get(f"{LIST}{program.pk}/now/").content.decode()
    RouterProgram.objects.update(status="failed", created_at="2026-01-01T00:00Z")
    assert "refreshing.js" not in admin_client.get(f"{LIST}{program.pk}/change/").content.decode()


def test_a_run_whose_process_died_is_shown_as_failed(admin_client):
    program = RouterProgram.objects.create()
    RouterProgram.objects.update(created_at="2026-01-01T00:00Z")
    words = words_of(admin_client.get(f"{LIST}{program.pk}/now/"))
    assert f"{program} failed. Its process ended before it was done" in words


def test_two_versions_are_compared(admin_client):
    first, second = measured_program(12), measured_program(32)
    page = act(admin_client, "compare", first, second)
    words = words_of(page)
    assert f"{first} {second}" in words
    assert "Both, as in production 30.0% right" in words
    assert words.count(INSTRUCTIONS) == 2
    assert "Choose two versions." in words_of(act(admin_client, "compare", first))


# Changing


def test_settings_can_be_changed_and_are_judged_at_once(admin_client):
    program = measured_program(32, active=True)
    page = admin_client.post(
        f"{LIST}{program.pk}/change/",
        {"time_limit": "0.15", "accept_from": "0", "loads_model": "on", "note": "quick", "active": "", "state": "{}"},
        follow=True,
    )
    assert "It stays active, but with these settings" in words_of(page)
    program.refresh_from_db()
    assert (program.time_limit, program.loads_model, program.note) == (0.15, True, "quick")
    assert program.metrics["shares"]["in_time"] == 0.0
    assert program.active
    assert program.state["choose"]


# Switching


def test_a_version_is_activated_after_it_was_said_by_how_much_it_helps(admin_client):
    on, better = measured_program(20, active=True), measured_program(38)
    page = act(admin_client, "activate", better)
    words = words_of(page)
    assert f"instead of {on}" in words
    assert "Better than the classifier alone: +70.0 points" in words
    assert f"Better than {on}, which is on: +45.0 points" in words
    assert 'name="force"' not in page.content.decode()
    assert active() == [on.pk]
    assert f"Activated {better}." in words_of(admin_client.post(f"{LIST}{better.pk}/activate/", follow=True))
    assert active() == [better.pk]


def test_one_that_does_not_help_is_refused_with_the_reason_unless_forced(admin_client):
    program = measured_program(8)
    page = admin_client.get(f"{LIST}{program.pk}/activate/")
    assert f"{program} is not shown to be better: -5.0 points" in words_of(page)
    assert 'name="force"' in page.content.decode()
    page = admin_client.post(f"{LIST}{program.pk}/activate/", follow=True)
    assert f"{program} was not activated: {program} is not shown to be better" in words_of(page)
    assert active() == []
    admin_client.post(f"{LIST}{program.pk}/activate/", {"force": "on"})
    assert active() == [program.pk]
    program.refresh_from_db()
    assert "activated by force" in program.note
    assert "Activated by force." in words_of(admin_client.get(f"{LIST}{program.pk}/history/"))


def test_one_that_failed_cannot_be_forced(admin_client):
    program = RouterProgram.objects.create(status="failed")
    page = admin_client.get(f"{LIST}{program.pk}/activate/")
    assert 'name="force"' not in page.content.decode()
    admin_client.post(f"{LIST}{program.pk}/activate/", {"force": "on"})
    assert active() == []


def test_routing_can_do_without_a_program(admin_client):
    program, other = measured_program(32, active=True), measured_program(32)
    page = act(admin_client, "deactivate", program, other)
    assert "until a version is activated again" in words_of(page)
    assert f"Deactivated {program}." in words_of(admin_client.post(f"{LIST}{program.pk}/deactivate/", follow=True))
    assert active() == []
    assert "What is selected is not active." in words_of(act(admin_client, "deactivate", other))


def test_the_active_one_and_one_that_runs_are_not_deleted(admin_client):
    on, running = measured_program(32, active=True), RouterProgram.objects.create()
    assert "activate another, or deactivate it first" in words_of(
        admin_client.post(f"{LIST}{on.pk}/delete/", {"post": "yes"}, follow=True)
    )
    assert "wait until it is done" in words_of(act(admin_client, "delete_selected", running, post="yes"))
    assert RouterProgram.objects.count() == 2


# Compiling

WANTED = {
    "optimizer": "gepa",
    "expert": "math",
    "teacher": "code",
    "examples": "50",
    "held_out": "60",
    "minutes": "10",
    "time_limit": "2",
    "note": "for the new examples",
}


@pytest.mark.usefixtures("_answering")
def test_a_run_is_started(admin_client, started, django_capture_on_commit_callbacks):
    page = admin_client.get(f"{LIST}optimize/")
    assert page.content.decode().count('value="100"') == 2
    words = words_of(page)
    assert "Code (code)" in words
    assert "Seconds that a request waits for the program" in words
    with django_capture_on_commit_callbacks(execute=True):
        page = admin_client.post(f"{LIST}optimize/", WANTED, follow=True)
    program = RouterProgram.objects.get()
    assert page.redirect_chain[-1][0] == f"{LIST}{program.pk}/change/"
    assert (program.optimizer, program.runs_on.slug, program.time_limit) == ("gepa", "math", 2.0)
    assert (program.status, program.created_by.username) == ("running", "admin")
    arguments = ["--examples=50", "--held-out=60", "--minutes=10.0", "--teacher=code"]
    assert started == [(program, arguments)]
    # Another has to wait.
    page = admin_client.post(f"{LIST}optimize/", WANTED)
    assert f"{program} is being compiled; wait until it is done." in words_of(page)
    assert RouterProgram.objects.count() == 1


@pytest.mark.usefixtures("_answering")
@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"expert": "nobody"}, "Select a valid choice"),
        ({"examples": "2"}, "greater than or equal to 10"),
        ({"held_out": "2"}, "greater than or equal to 20"),
        ({"minutes": "0"}, "greater than or equal to 1"),
    ],
)
def test_what_is_asked_wrongly_is_said(admin_client, started, wrong, says):
    assert says in words_of(admin_client.post(f"{LIST}optimize/", WANTED | wrong))
    assert not RouterProgram.objects.exists()


def test_without_anybody_to_run_it_nothing_is_compiled(admin_client):
    assert "No expert has a replica" in words_of(admin_client.post(f"{LIST}optimize/", WANTED))
    assert not RouterProgram.objects.exists()


# Who may


def test_who_may_only_look_cannot_switch_or_compile(client, django_user_model):
    program = measured_program(32)
    user = django_user_model.objects.create_user("worker", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename="view_routerprogram"))
    client.force_login(user)
    assert "/optimize/" not in client.get(LIST).content.decode()
    assert "/activate/" not in client.get(f"{LIST}{program.pk}/change/").content.decode()
    for page in (f"{program.pk}/activate/", f"{program.pk}/deactivate/", "optimize/"):
        assert client.get(f"{LIST}{page}").status_code == 403
        assert client.post(f"{LIST}{page}").status_code == 403
    assert active() == []
