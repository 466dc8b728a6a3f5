"""What holds for the whole installation: secrets stay where they are, pages run no foreign scripts, one way outside."""

import ast
import io
import json
import logging
import re
from pathlib import Path

import httpx
import pytest
from django.conf import settings as project
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.urls import reverse

from gateway.models import ApiKey
from knowledge.archive import collection_export
from knowledge.models import Collection, EmbeddingModel
from moe_site.signing_in import factor
from routing.models import Expert, ModelServer, Replica
from routing.pool import close_shared_pool
from tests.moe_site.test_doctor import answering, response

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("moe_site", "gateway", "knowledge", "routing")

SERVER_KEY = "canary-key-of-a-model-server"
SECRET_KEY = "canary-secret-key-0123456789-abcdefghijklmnop"
REDIS_PASSWORD = "canary-redis-password"
DATABASE_PASSWORD = "canary-database-password"
ADMIN_PASSWORD = "canary-admin-password"
CANARY = re.compile(r"canary-[a-z0-9-]+")


# --- secrets ---------------------------------------------------------------------------------------------------


@pytest.fixture
def planted(transactional_db, settings):
    """An installation with a secret in every place that has one; yields the text of its API key."""
    settings.SECRET_KEY = SECRET_KEY
    settings.REDIS_URL = f"redis://:{REDIS_PASSWORD}@127.0.0.1:9/0"
    before = connection.settings_dict["PASSWORD"]
    connection.settings_dict["PASSWORD"] = DATABASE_PASSWORD
    refusal = response("400 Bad Request", json.dumps({"error": f"I do not know the key {SERVER_KEY}"}).encode())
    with answering(refusal) as url:
        server = ModelServer.objects.create(name="cloud", base_url=url, api_key=SERVER_KEY)
        expert = Expert.objects.create(slug="all", name="All", is_default=True)
        Replica.objects.create(expert=expert, server=server, model="qwen3:8b")
        Collection.objects.create(slug="shelf", name="Shelf", embedding_model=EmbeddingModel.objects.first())
        _, text = ApiKey.objects.issue(name="first")
        yield text
    connection.settings_dict["PASSWORD"] = before


def leaks(text, key):
    """Return which of the secrets stand in ``text``."""
    body = key.removeprefix("sk-moe-")
    return {*CANARY.findall(text), *([key] if body and body[12:] in text else [])}


@pytest.fixture
def owner(planted):
    browser = Client()
    User.objects.create_superuser("anna", password=ADMIN_PASSWORD)
    browser.post("/admin/login/", {"username": "anna", "password": ADMIN_PASSWORD})
    return browser


def admin_pages():
    """Yield the list, the form for a new row, and the form of one row, of everything in the admin."""
    for model in admin.site._registry:
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        yield reverse(f"{name}_changelist")
        yield reverse(f"{name}_add")
        if (row := model._default_manager.first()) is not None:
            yield reverse(f"{name}_change", args=[row.pk])
            yield reverse(f"{name}_history", args=[row.pk])


def test_no_page_of_the_admin_shows_a_secret(planted, owner, caplog):
    caplog.set_level(logging.DEBUG)
    stored = factor.enrolment_begin(User.objects.get()).key
    pages = list(admin_pages())
    assert len(pages) > 60
    for page in pages:
        answer = owner.get(page)
        assert answer.status_code in (200, 302, 403), page
        text = answer.content.decode()
        assert leaks(text, planted) == set(), page
        assert stored not in text, page
    assert leaks(caplog.text, planted) == set()


async def test_no_answer_and_no_line_of_the_log_tells_a_secret(planted, caplog):
    from moe_site.asgi import routes

    caplog.set_level(logging.DEBUG)
    transport = httpx.ASGITransport(routes)
    hello = {"model": "auto", "messages": [{"role": "user", "content": "Hello"}]}
    told = ""
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=60) as client:
        for key in (planted, planted[:-1] + "x", planted.upper(), "canary-no-key-at-all"):
            for method, path, body in (
                ("POST", "/v1/chat/completions", hello),
                ("POST", "/v1/chat/completions", {"model": 7}),
                ("POST", "/v1/embeddings", {"model": "nomic", "input": "x"}),
                ("GET", "/v1/models", None),
                ("GET", "/v1/models/nothing", None),
                ("GET", "/metrics", None),
                ("GET", "/health/ready", None),
                ("GET", "/api/tags", None),
                ("POST", "/v1/rag/search", {"query": "x"}),
            ):
                answer = await client.request(method, path, json=body, headers={"Authorization": f"Bearer {key}"})
                told += answer.text + repr(answer.headers)
                assert answer.status_code < 600
    await close_shared_pool()
    assert "do not know the key …" in told  # the model server's words, without the key
    assert leaks(told, planted) == set()
    assert leaks(caplog.text, planted) == set()


def test_no_archive_and_no_list_of_keys_holds_a_secret(planted, capsys):
    file = io.BytesIO()
    collection_export(collection=Collection.objects.get(), to=file)
    assert leaks(file.getvalue().decode("latin-1"), planted) == set()
    call_command("dumpdata", "routing", "gateway", "knowledge.collection")
    call_command("list_api_keys")
    told = capsys.readouterr()
    assert leaks(told.out + told.err, planted) == set()


def test_what_dumpdata_wrote_can_be_loaded_again(planted, tmp_path):
    call_command("dumpdata", "routing.modelserver", output=str(tmp_path / "servers.json"))
    ModelServer.objects.all().delete()
    call_command("loaddata", str(tmp_path / "servers.json"), verbosity=0)
    assert ModelServer.objects.get().api_key == SERVER_KEY


def test_the_doctor_and_the_checks_tell_no_secret(planted, capsys, caplog):
    caplog.set_level(logging.DEBUG)
    with pytest.raises(SystemExit):
        call_command("doctor", "--fix-nothing")
    call_command("check", "--deploy", "--database", "default")
    told = capsys.readouterr()
    assert "cloud" in told.out
    assert leaks(told.out + told.err + caplog.text, planted) == set()


def test_the_database_holds_keys_that_cannot_be_read(planted):
    with connection.cursor() as cursor:
        cursor.execute("SELECT api_key FROM routing_modelserver")
        assert SERVER_KEY not in cursor.fetchone()[0]
        cursor.execute("SELECT to_jsonb(row)::text FROM gateway_apikey AS row")
        assert leaks(cursor.fetchone()[0], planted) == set()


def test_whoever_may_only_look_at_a_server_sees_it_without_its_key(planted, client):
    user = User.objects.create_user("looker", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename="view_modelserver"))
    client.force_login(user)
    page = client.get(reverse("admin:routing_modelserver_change", args=[ModelServer.objects.get().pk]))
    assert page.status_code == 200
    assert leaks(page.content.decode(), planted) == set()


def test_a_page_that_fails_tells_nothing(planted, owner, monkeypatch, caplog):
    def broken(*_, **__):
        raise RuntimeError(SECRET_KEY)

    owner.raise_request_exception = False
    monkeypatch.setattr("routing.admin.servers.ModelServerAdmin.get_queryset", broken)
    answer = owner.get("/admin/routing/modelserver/")
    assert answer.status_code == 500
    assert leaks(answer.content.decode(), planted) == set()


# --- what browsers are told ------------------------------------------------------------------------------------


def test_pages_may_load_and_run_what_is_ours_alone(db):
    answer = Client().get("/admin/login/")
    policy = dict(part.split(" ", 1) for part in answer["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == policy["script-src"] == "'self'"
    assert policy["object-src"] == policy["frame-ancestors"] == "'none'"
    assert answer["X-Frame-Options"] == "DENY"
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Referrer-Policy"] == "same-origin"


def test_no_template_has_a_script_in_it():
    """The policy would keep it from running."""
    inline = re.compile(r'<script(?![^>]*\b(?:src=|type="application/json"))|\son[a-z]+="|javascript:', re.IGNORECASE)
    for room in ROOMS:
        for template in (ROOT / room).rglob("*.html"):
            assert not inline.search(template.read_text()), template


def test_cookies_are_out_of_reach_of_scripts_and_of_other_sites(planted, owner):
    session, token = owner.cookies["sessionid"], owner.cookies["csrftoken"]
    assert session["httponly"]
    assert session["samesite"] == token["samesite"] == "Lax"
    assert project.SESSION_COOKIE_SECURE is project.CSRF_COOKIE_SECURE is project.BEHIND_TLS


def test_forms_from_elsewhere_are_refused(planted, owner):
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = owner.cookies
    assert strict.post("/admin/auth/user/add/", {"username": "eve"}).status_code == 403


def test_host_names_that_are_not_ours_are_refused(db):
    answer = Client().get("/v1/models", HTTP_HOST="evil.example")
    assert (answer.status_code, answer["Content-Type"]) == (400, "application/json")


# --- the one way outside ---------------------------------------------------------------------------------------

# Modules that open connections, and to whom. Whatever a stranger names goes through routing/backends/fetch.py.
OPENING = {
    "routing/backends/fetch.py": "what strangers name: checked and pinned",
    "routing/backends/client.py": "model servers, which administrators enter",
    "moe_site/doctor/servers.py": "the same, for the time they tell",
    "moe_site/doctor/machine.py": "this machine",
    "moe_site/listening.py": "this machine",
    "moe_site/serve.py": "this machine",
    "moe_site/embedded/llama.py": "this machine",
    "moe_site/server.py": "accepts connections",
    "moe_site/worker.py": "accepts connections",
    "moe_site/settings.py": "this machine's name",
}
NETWORK = {"aiohttp", "httpx", "requests", "urllib3", "socket", "http.client", "urllib.request", "websockets", "ftplib"}


def test_new_ways_outside_are_noticed():
    for room in ROOMS:
        for path in (ROOT / room).rglob("*.py"):
            name = str(path.relative_to(ROOT))
            opens = imported(path) & NETWORK
            assert not opens or name in OPENING, f"{name} imports {opens}: fetch through routing/backends/fetch.py"


def imported(path):
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


# --- the threat model ------------------------------------------------------------------------------------------


def test_every_test_that_the_threat_model_names_is_there():
    text = (ROOT / "docs/threat-model.md").read_text()
    named = re.findall(r"tests/([\w/]+/)(test_[\w*]+\.py(?:, test_[\w*]+\.py)*)", text)
    assert len(named) > 20
    for folder, files in named:
        for file in files.split(", "):
            assert list((ROOT / "tests" / folder).glob(file)), f"tests/{folder}{file}"
