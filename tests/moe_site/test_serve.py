"""`manage.py serve` on a machine with nothing else: real database, real language model, real clients."""

import errno
import os
import re
import signal
import socket
import subprocess
import sys
import time

import httpx
import openai
import psycopg
import pytest
from django.core.management import CommandError
from django.db import OperationalError, ProgrammingError

from moe_site.child import Child
from moe_site.embedded.postgres import EmbeddedPostgres
from moe_site.serve import told_in_words
from routing.metrics import FOLDER_VARIABLE
from tests.conftest import new_data_dir
from tests.serving import ROOT, Served

pytestmark = pytest.mark.served


def eventually(condition, seconds=60.0):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return False


def ask(client, text, **fields):
    fields = {"model": "auto", "max_tokens": 12} | fields
    return client.chat.completions.create(messages=[{"role": "user", "content": text}], **fields)


class TestOpenAIClient:
    def test_streams_an_answer_of_the_real_model(self, served):
        chunks = list(ask(served.client(), "Say hello.", stream=True, stream_options={"include_usage": True}))
        assert chunks[0].choices[0].delta.role == "assistant"
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices).strip()
        assert chunks[-2].choices[0].finish_reason in ("stop", "length")
        assert chunks[-1].choices == []
        assert 0 < chunks[-1].usage.completion_tokens <= 12
        assert len({chunk.id for chunk in chunks}) == 1

    def test_answers_at_once_with_usage(self, served):
        answer = ask(served.client(), "Say hello.")
        assert answer.choices[0].message.content.strip()
        assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens

    def test_names_expert_replica_route_and_decision_in_headers(self, served):
        raw = served.client().chat.completions.with_raw_response.create(
            model="auto", max_tokens=4, messages=[{"role": "user", "content": "Translate 'cat' into French."}]
        )
        assert raw.headers["x-moe-expert"] == "translation"
        assert raw.headers["x-moe-replica"] == "smollm2:135m-instruct@embedded"
        assert raw.headers["x-moe-route"] == "rule"
        assert raw.headers["x-moe-decision"].startswith("dec_")
        assert raw.headers["x-request-id"].startswith("req_")
        assert int(raw.headers["x-moe-queue-wait-ms"]) >= 0

    @pytest.mark.parametrize("model", ["code", "smollm2:135m-instruct"])
    def test_asks_an_expert_or_an_installed_model_by_name(self, served, model):
        assert ask(served.client(), "Hi", model=model).model == model

    def test_lists_what_can_be_asked_for(self, served):
        ids = {model.id for model in served.client().models.list()}
        assert {"auto", "general", "code", "math", "reasoning", "writing", "translation"} <= ids
        assert {"summarization", "extraction", "smollm2:135m-instruct"} <= ids
        assert served.client().models.retrieve("code").id == "code"

    def test_a_wrong_key_is_an_authentication_error(self, served):
        with pytest.raises(openai.AuthenticationError) as caught:
            ask(served.client(api_key="sk-wrong"), "Hi")
        assert caught.value.code == "invalid_api_key"
        assert "ask an administrator" in caught.value.message
        assert caught.value.request_id

    def test_an_unknown_model_is_a_not_found_error(self, served):
        with pytest.raises(openai.NotFoundError) as caught:
            ask(served.client(), "Hi", model="gpt-17")
        assert caught.value.code == "model_not_found"
        assert "GET /v1/models" in caught.value.message

    def test_a_bad_body_is_a_bad_request_error(self, served):
        with pytest.raises(openai.BadRequestError) as caught:
            ask(served.client(), "Hi", temperature=9)
        assert caught.value.param == "temperature"
        assert "from 0 to 2" in caught.value.message


class TestErrorsAreJson:
    @pytest.mark.parametrize(
        ("method", "path", "body", "status"),
        [
            ("GET", "/v1/chat/completions", None, 405),
            ("DELETE", "/v1/models", None, 405),
            ("GET", "/v1/no/such/thing", None, 404),
            ("GET", "/v1/models/no-such-model", None, 404),
            ("POST", "/v1/chat/completions", b"{", 400),
            ("POST", "/v1/chat/completions", b"", 400),
            ("POST", "/v1/chat/completions", b"[]", 400),
            ("POST", "/v1/chat/completions", b" " * (33 * 2**20), 413),
        ],
    )
    def test_under_v1(self, served, method, path, body, status):
        response = served.http().request(method, path, content=body)
        assert response.status_code == status
        assert response.headers["content-type"] == "application/json"
        assert response.json()["error"]["message"]
        assert response.headers["x-request-id"]

    def test_a_host_name_that_is_not_allowed_says_which_variable(self, served):
        response = httpx.get(f"{served.url}/v1/models", headers={"Host": "evil.example"})
        assert response.status_code == 400
        assert "ALLOWED_HOSTS" in response.json()["error"]["message"]

    def test_the_clients_own_request_id_comes_back(self, served):
        response = httpx.get(f"{served.url}/health/live", headers={"X-Request-ID": "abc-1"})
        assert response.headers["x-request-id"] == "abc-1"
        response = httpx.get(f"{served.url}/health/live", headers={"X-Request-ID": "no spaces, please"})
        assert response.headers["x-request-id"].startswith("req_")


class Admin:
    """A browser's part in the admin: cookies and form tokens."""

    def __init__(self, served: Served) -> None:
        self.http = served.http(follow_redirects=True)
        page = self.post("/admin/login/", username="admin", password=served.admin_password)
        assert "Log out" in page.text

    def post(self, path: str, **fields: str) -> httpx.Response:
        page = self.http.get(path)
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)[1]
        response = self.http.post(
            path, data=fields | {"csrfmiddlewaretoken": token}, headers={"Referer": str(page.url)}
        )
        assert response.status_code == 200
        assert "Please correct the error" not in response.text, response.text
        return response


class TestAdmin:
    def test_a_rule_made_edited_and_disabled_changes_the_next_answer(self, served):
        admin = Admin(served)

        def expert() -> str:
            body = {"model": "auto", "max_tokens": 1, "messages": [{"role": "user", "content": "About zebrafish."}]}
            return served.http().post("/v1/chat/completions", json=body).headers["x-moe-expert"]

        assert expert() == "general"
        choices = admin.http.get("/admin/routing/expert/").text
        ids = {
            slug: re.search(
                rf"/admin/routing/expert/(\d+)/change/[^>]*>[^<]*</a></th><td class=\"field-slug\">{slug}<", choices
            )[1]
            for slug in ("writing", "math")
        }
        rule = {
            "name": "Fish",
            "priority": "1",
            "enabled": "on",
            "look_in": "message",
            "keywords": "zebrafish\ntuna",
            "note": "",
        }
        page = admin.post("/admin/routing/routingrule/add/", **rule, expert=ids["writing"])
        assert expert() == "writing"
        number = re.search(r"/admin/routing/routingrule/(\d+)/change/", page.text)[1]
        path = f"/admin/routing/routingrule/{number}/change/"
        admin.post(path, **rule, expert=ids["math"])
        assert expert() == "math"
        del rule["enabled"]
        admin.post(path, **rule, expert=ids["math"])
        assert expert() == "general"

    def test_a_key_made_in_admin_works_and_stops_when_revoked(self, served):
        admin = Admin(served)
        fields = {"name": "From admin", "priority": "normal", "expires_at_0": "", "expires_at_1": "", "note": ""}
        page = admin.post("/admin/gateway/apikey/add/", **fields)
        key = re.search(r'id="new-key"[^>]*>(sk-moe-[^<]+)<', page.text)[1]
        assert served.client(api_key=key).models.list().data
        listing = admin.http.get("/admin/gateway/apikey/").text
        assert key not in listing
        assert key[:13] in listing
        number = re.search(r"/admin/gateway/apikey/(\d+)/change/\">From admin", listing)[1]
        admin.post("/admin/gateway/apikey/", action="revoke", _selected_action=number, post="yes")
        with pytest.raises(openai.AuthenticationError):
            served.client(api_key=key).models.list()

    @pytest.mark.parametrize("page", ["modelserver", "expert", "replica", "installedmodel", "routingrule"])
    def test_every_list_and_its_search_open(self, served, page):
        admin = Admin(served)
        assert admin.http.get(f"/admin/routing/{page}/").status_code == 200
        assert admin.http.get(f"/admin/routing/{page}/?q=smollm").status_code == 200


def test_a_key_made_on_the_command_line_is_the_last_line_and_works(served):
    key = served.manage("create_api_key", "from the shell").splitlines()[-1]
    assert eventually(
        lambda: httpx.get(f"{served.url}/v1/models", headers={"Authorization": f"Bearer {key}"}).is_success, 2
    )


def test_health_tells_each_dependency(served):
    assert httpx.get(f"{served.url}/health/live").json() == {"status": "ok"}
    ready = httpx.get(f"{served.url}/health/ready")
    assert ready.status_code == 200
    assert ready.json()["dependencies"] == {"database": "ok", "model server embedded": "ok"}


def test_a_killed_model_gives_a_clean_503_and_comes_back(served):
    served.child("llama_server").kill()
    statuses = []

    def answered() -> bool:
        try:
            ask(served.client(timeout=10), "Hi", max_tokens=1)
        except openai.InternalServerError as error:
            statuses.append((error.status_code, error.response.headers.get("retry-after"), error.code))
            return False
        return True

    assert eventually(answered)
    assert all(status == (503, "5", "service_unavailable") for status in statuses), statuses


def test_a_killed_worker_is_replaced(served):
    served.child("moe_site.worker").kill()
    assert eventually(lambda: _alive(served))


def test_a_process_finds_the_folder_of_its_figures_again_though_somebody_removed_it(tmp_path):
    figures = tmp_path / "moe-figures"
    code = f"import os, pathlib; pathlib.Path(os.environ['{FOLDER_VARIABLE}'], 'counter_1.db').touch()"
    child = Child("worker 1", [sys.executable, "-c", code], figures=figures)
    child.start()
    child.wait_stopped(time.monotonic() + 30)
    assert (figures / "counter_1.db").exists()
    assert figures.stat().st_mode & 0o777 == 0o700


def test_a_process_keeps_its_figures_to_itself_where_the_folder_is_somebody_elses(tmp_path):
    (tmp_path / "theirs").mkdir()
    (tmp_path / "moe-figures").symlink_to(tmp_path / "theirs")
    code = f"import os, pathlib; pathlib.Path({str(tmp_path)!r}, os.environ.get('{FOLDER_VARIABLE}', 'alone')).touch()"
    child = Child("worker 1", [sys.executable, "-c", code], figures=tmp_path / "moe-figures")
    child.start()
    child.wait_stopped(time.monotonic() + 30)
    assert (tmp_path / "alone").exists()
    assert list((tmp_path / "theirs").iterdir()) == []


def test_a_process_that_cannot_be_started_just_now_is_started_later(tmp_path, caplog):
    program = tmp_path / "program"
    program.symlink_to(sys.executable)
    child = Child("worker 1", [str(program), "-c", "import sys; sys.stdin.read()"])
    child.start()
    program.unlink()
    child.ask_to_stop()
    assert eventually(lambda: not child.running)
    child.keep_running()
    assert not child.running
    assert "cannot be started, trying again" in caplog.text
    program.symlink_to(sys.executable)

    def runs_again():
        child.keep_running()
        return child.running

    try:
        assert eventually(runs_again)
    finally:
        child.ask_to_stop()
        child.wait_stopped(time.monotonic() + 30)


def _alive(served):
    try:
        return httpx.get(f"{served.url}/health/live", timeout=10).is_success
    except httpx.HTTPError:
        return False


def test_kill_9_of_everything_and_of_the_database_loses_nothing_and_sigterm_leaves_nothing():
    running = Served(new_data_dir(), environment={"EMBEDDED_MODELS": "on"}).start()
    key, password = running.api_key, running.admin_password
    running.kill()
    assert eventually(lambda: not running.processes()), running.processes()
    running.start()
    try:
        assert key == running.api_key, "a second start shows no new key"
        assert password == running.admin_password
        assert ask(running.client(), "Hi", max_tokens=2).usage.completion_tokens >= 1
        another = _second_start(running)
        assert another.returncode != 0
        assert "already runs" in another.stderr

        postmaster = int((running.data_dir / "postgres/cluster/postmaster.pid").read_text().split()[0])
        subprocess.run(["kill", "-9", str(postmaster)], check=True)
        # Chats go on from memory while it restarts; keys and rules are read again afterwards.
        assert ask(running.client(), "Hi", max_tokens=1).choices
        assert eventually(lambda: _database_ok(running), 30)
        key = running.manage("create_api_key", "after").splitlines()[-1]
        assert eventually(lambda: _accepted(running, key))
    finally:
        assert running.stop() == 0
    assert running.processes() == []


def _second_start(running):
    command = [sys.executable, "manage.py", "serve", "--port", "0"]
    return subprocess.run(command, cwd=ROOT, env=running.environment, capture_output=True, text=True, timeout=60)


def _database_ok(running):
    try:
        return httpx.get(f"{running.url}/health/ready", timeout=15).json()["dependencies"]["database"] == "ok"
    except httpx.HTTPError:
        return False


def _accepted(running, key):
    return httpx.get(f"{running.url}/v1/models", headers={"Authorization": f"Bearer {key}"}).is_success


SENSELESS = {"EMBEDDED_MODELS": "maybe", "OLLAMA_BASE_URL": "gpu-box", "MAX_BODY_BYTES": "0"}


@pytest.fixture(scope="module")
def taken():
    """A port that something else listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture(scope="module")
def said(taken):
    """What each start said that is refused; all run at the same time, for a port and a database are waited for."""
    starts = {
        "open door": (["--host", "0.0.0.0"], {"REQUIRE_API_KEY": "false"}),
        "port": (["--port", str(taken)], {}),
        "database": ([], {"DATABASE_URL": "postgres://nobody:x@127.0.0.1:1/none"}),
    } | {name: ([], {name: value}) for name, value in SENSELESS.items()}
    running = {name: refused_start(*arguments, **environment) for name, (arguments, environment) in starts.items()}
    errors = {name: process.communicate(timeout=120)[1] for name, process in running.items()}
    assert all(process.returncode for process in running.values()), errors
    assert not any("Traceback" in text for text in errors.values()), errors
    return errors


def refused_start(*arguments, **environment):
    command = [sys.executable, "manage.py", "serve", "--port", "0", *arguments]
    environment = Served(new_data_dir(empty=True), environment=environment).environment
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=pipe, stderr=pipe, text=True)


class TestRefusedStarts:
    def test_anonymous_clients_from_the_network(self, said):
        assert "REQUIRE_API_KEY" in said["open door"]

    def test_a_port_in_use(self, said, taken):
        assert f"127.0.0.1:{taken}" in said["port"]
        assert "--port" in said["port"]

    def test_a_database_that_does_not_answer(self, said):
        assert "DATABASE_URL" in said["database"]

    @pytest.mark.parametrize("name", SENSELESS)
    def test_a_setting_that_makes_no_sense(self, said, name):
        assert name in said[name]


class TestStartsThatFail:
    """What the machine does to a start is told in words; what is wrong with this program is not."""

    def test_on_a_disk_without_room(self):
        with pytest.raises(CommandError, match=r"No space left(?s:.)*Make room on the disk of"), told_in_words():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def test_on_a_database_whose_disk_is_full(self):
        with (
            pytest.raises(CommandError, match=r"could not extend file(?s:.)*Make room on the disk of"),
            told_in_words(),
        ):
            raise OperationalError("could not extend file") from psycopg.errors.DiskFull()

    def test_in_a_folder_of_somebody_else(self):
        with pytest.raises(CommandError, match="the account that runs this may read and write"), told_in_words():
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), "/srv/moe/serve.lock")

    def test_by_a_slip_of_ours(self):
        with pytest.raises(ProgrammingError), told_in_words():
            raise ProgrammingError("syntax error")


def test_ctrl_c_stops_cleanly():
    running = Served(new_data_dir()).start()
    running.process.send_signal(signal.SIGINT)
    assert running.process.wait(20) == 0
    assert running.processes() == []


def test_another_postgresql_and_several_workers():
    server = EmbeddedPostgres(new_data_dir(empty=True))
    server.acquire()
    environment = {"DATABASE_URL": f"postgres://postgres@/moe?host={server.socket_dir}", "REQUIRE_API_KEY": "false"}
    try:
        workers = ("--port", "0", "--workers", "2")
        running = Served(new_data_dir(empty=True), *workers, environment=environment).start()
        try:
            assert not (running.data_dir / "postgres").exists()
            # Anonymous clients are let in on loopback; a change reaches every worker within two seconds.
            running.shell("from routing.models import Expert; Expert.objects.all().delete()")
            time.sleep(2)
            seen = {_models_seen(running) for _ in range(30)}
            # What is left needs no expert.
            assert seen == {"auto,auto-fast,auto-best,auto-cheap,moe,cascade,all-MiniLM-L6-v2"}
        finally:
            assert running.stop() == 0
    finally:
        server.release()


def _models_seen(running):
    with httpx.Client(base_url=running.url) as fresh_connection:
        return ",".join(model["id"] for model in fresh_connection.get("/v1/models").json()["data"])
