"""The admin's pages that manage a server's models, in a running installation with a scripted Ollama."""

import html
import re

import pytest

from tests.moe_site.test_serve import Admin, eventually
from tests.scripted import Reply, Residency, ScriptedModel

pytestmark = pytest.mark.served

MODEL = "qwen2.5-coder:7b"
STRANGE = ScriptedModel(name="<b>bold</b>:1b")


class Browser(Admin):
    """One that is signed in already, or not yet; checking a password takes its time."""

    def __init__(self, served, cookies=None):
        self.http = served.http(follow_redirects=True, cookies=cookies)


@pytest.fixture(scope="module")
def _cookies(_served_ollama):
    return dict(Admin(_served_ollama).http.cookies)


@pytest.fixture
def admin(served_ollama, _cookies):
    return Browser(served_ollama, _cookies)


@pytest.fixture
def state(admin):
    """Return the path of the server's state page."""
    page = admin.http.get("/admin/routing/modelserver/").text
    return re.search(r'href="(/admin/routing/modelserver/\d+/state/)"', page)[1]


@pytest.fixture(autouse=True)
def _same_models_afterwards(admin, state, ollama):
    models = list(ollama.models)
    yield
    ollama.models[:] = models
    ollama.clear()
    admin.post(state, do="refresh")


def said(page):
    """Return what a page's messages say."""
    return html.unescape(" ".join(re.findall(r'<li class="(?:success|error)">(.*?)</li>', page.text, re.DOTALL)))


def now(admin, state):
    return html.unescape(admin.http.get(f"{state}now/").text)


def row(admin, name):
    listing = admin.http.get("/admin/routing/installedmodel/").text
    return re.search(rf'value="(\d+)"[^>]*aria-label="[^"]*{re.escape(name)} on ', listing)[1]


class TestStatePage:
    def test_shows_server_memory_installed_models_and_replicas(self, admin, state, ollama):
        ollama.loaded[MODEL] = Residency(context_length=4096, vram=0.25)
        page = admin.http.get(state).text
        assert "Ollama 0.32.5" in page
        for text in ("4096", "25%", "for ever", "nomic-embed-text:latest", "completion, tools, insert", "Code"):
            assert text in page
        number = re.search(r"(\d+)/state", state)[1]
        assert f'href="{state}"' in admin.http.get(f"/admin/routing/modelserver/{number}/change/").text

    def test_says_why_a_server_does_not_answer(self, admin, state, ollama):
        ollama.stop()
        try:
            page = admin.http.get(state)
            assert page.status_code == 200
            assert "cannot be reached" in page.text
        finally:
            ollama.restart()

    def test_what_servers_tell_is_escaped(self, admin, state, ollama):
        ollama.models.append(STRANGE)
        ollama.loaded[STRANGE.name] = Residency()
        assert "<b>bold</b>" not in admin.post(state, do="refresh").text
        for path in (
            state,
            f"{state}now/",
            f"/admin/routing/installedmodel/{row(admin, '&lt;b&gt;bold&lt;/b&gt;:1b')}/delete/",
        ):
            page = admin.http.get(path).text
            assert "<b>bold</b>" not in page
            assert "&lt;b&gt;bold&lt;/b&gt;" in page

    def test_loads_and_unloads(self, admin, state, ollama):
        assert f"Loaded {MODEL}" in said(admin.post(state, do="warm", model=MODEL))
        assert list(ollama.loaded) == [MODEL]
        assert f"Unloaded {MODEL}" in said(admin.post(state, do="unload", model=MODEL))
        assert not ollama.loaded

    @pytest.mark.parametrize(
        ("fields", "words"),
        [
            ({"do": "warm", "model": "nothing:1b"}, "does not have the model 'nothing:1b'"),
            ({"do": "pull", "model": "two words"}, "Enter the name of one model"),
            ({"do": "cancel", "model": "nothing:1b"}, "No pull of nothing:1b"),
            ({"do": "dance"}, "nothing of that name to do"),
            ({}, "nothing of that name to do"),
        ],
    )
    def test_an_error_is_told_in_words(self, admin, state, fields, words):
        assert words in said(admin.post(state, **fields))

    def test_a_form_without_its_token_does_nothing(self, admin, state, ollama):
        assert admin.http.post(state, data={"do": "warm", "model": MODEL}).status_code == 403
        assert not ollama.loaded

    def test_a_server_that_is_not_there(self, admin):
        assert admin.http.get("/admin/routing/modelserver/99999/state/").status_code == 404


class TestPull:
    def test_runs_in_the_background_with_progress_and_installs(self, admin, state, ollama):
        ollama.offer(ScriptedModel(name="phi4:14b", parameter_size="14B", size=3_000_000))
        ollama.reply(Reply(delay=0.1), path="/api/pull")
        page = admin.post(state, do="pull", model=" phi4:14b ")
        assert "Pulling phi4:14b" in said(page)
        assert "runs already" in said(admin.post(state, do="pull", model="phi4:14b"))
        assert eventually(lambda: re.search(r"[1-9]\d?% of ", now(admin, state)), 5)
        assert eventually(lambda: "Pulled. 6 models installed" in now(admin, state), 5)
        assert len(ollama.requests_to("/api/pull")) == 1
        assert served_models(admin) >= {"phi4:14b"}

    def test_is_cancelled(self, admin, state, ollama):
        ollama.offer(ScriptedModel(name="gemma3:4b"))
        ollama.reply(Reply(hang_after=6), path="/api/pull")
        admin.post(state, do="pull", model="gemma3:4b")
        pull = ollama.wait_for_request("/api/pull")
        assert "Cancelling the pull" in said(admin.post(state, do="cancel", model="gemma3:4b"))
        assert pull.wait_disconnected()
        assert eventually(lambda: "Cancelled. Pulling it again goes on" in now(admin, state), 3)

    def test_a_failure_stays_on_the_page(self, admin, state):
        admin.post(state, do="pull", model="no-such-model")
        assert eventually(lambda: "Check the name" in now(admin, state), 3)


def served_models(admin):
    return {model["id"] for model in admin.http.get("/v1/models").json()["data"]}


class TestDelete:
    def test_asks_names_the_replicas_and_deletes(self, admin, state, ollama):
        path = f"/admin/routing/installedmodel/{row(admin, MODEL)}/delete/"
        page = html.unescape(admin.http.get(path).text)
        assert "These replicas use it" in page
        assert f"{MODEL}@" in page
        assert MODEL in {model.name for model in ollama.models}
        page = admin.post(path, post="yes")
        assert str(page.url).endswith(state)
        assert f"Deleted {MODEL}" in said(page)
        assert "point at nothing now: Code" in said(page)
        assert MODEL not in {model.name for model in ollama.models}

    def test_a_failure_deletes_nothing(self, admin, ollama):
        number = row(admin, MODEL)
        ollama.reply(Reply(status=500, error="disk is read-only"), path="/api/delete")
        assert "disk is read-only" in said(admin.post(f"/admin/routing/installedmodel/{number}/delete/", post="yes"))
        assert row(admin, MODEL) == number

    def test_of_several_asks_too(self, admin, ollama):
        numbers = [row(admin, MODEL), row(admin, "llava:7b")]
        fields = {"action": "delete_from_server", "_selected_action": numbers}
        page = admin.post("/admin/routing/installedmodel/", **fields)
        assert "Are you sure?" in page.text
        assert len(ollama.models) == 5
        assert "Deleted llava:7b" in said(admin.post("/admin/routing/installedmodel/", **fields, post="yes"))
        assert {MODEL, "llava:7b"}.isdisjoint(model.name for model in ollama.models)


def test_list_actions_load_and_unload(admin, ollama):
    fields = {"_selected_action": [row(admin, MODEL), row(admin, "nomic-embed-text:latest")]}
    assert f"Loaded {MODEL}" in said(admin.post("/admin/routing/installedmodel/", action="warm", **fields))
    assert set(ollama.loaded) == {MODEL, "nomic-embed-text:latest"}
    admin.post("/admin/routing/installedmodel/", action="unload", **fields)
    assert not ollama.loaded
    assert "delete_selected" not in admin.http.get("/admin/routing/installedmodel/").text


def test_whoever_may_only_look_is_offered_nothing(served_ollama, state, ollama):
    served_ollama.shell(
        "from django.contrib.auth.models import Permission, User;"
        "user, _ = User.objects.get_or_create(username='looker', is_staff=True);"
        "user.set_password('look'); user.save();"
        "looks = Permission.objects.filter(codename__in=['view_modelserver', 'view_installedmodel']);"
        "user.user_permissions.set(looks)",
    )
    looker = Browser(served_ollama)
    assert "Log out" in looker.post("/admin/login/", username="looker", password="look").text
    page = looker.http.get(state)
    assert page.status_code == 200
    assert 'name="do"' not in page.text
    assert "/delete/" not in page.text
    token = looker.http.cookies["csrftoken"]
    refused = looker.http.post(
        state, data={"do": "warm", "model": MODEL, "csrfmiddlewaretoken": token}, headers={"Referer": str(page.url)}
    )
    assert refused.status_code == 403
    assert not ollama.loaded
