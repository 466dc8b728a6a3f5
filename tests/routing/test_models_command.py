"""`manage.py models`: what it prints, what it asks, and when it fails."""

import io
import json
import signal
import sys

import pytest
from django.core.management import CommandError, call_command

from routing.management.commands import models as command
from routing.management.progress import PullDisplay, Speed, bar, duration
from routing.modelcare import PullProgress
from routing.models import Expert, ModelServer, Replica
from tests.scripted import Reply, Residency, ScriptedModel, ScriptedServer

NEW = ScriptedModel(name="qwen3:8b", size=3_000_000, parameter_size="8B", capabilities=("completion", "tools"))


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture(scope="module")
def _scripted():
    with ScriptedServer() as server:
        yield server


@pytest.fixture
def scripted(_scripted):
    _scripted.clear()
    _scripted.models[:] = [
        ScriptedModel(name="llama3.2:3b", capabilities=("completion", "tools"), context_length=131072),
        ScriptedModel(name="old:latest", capabilities=None),
    ]
    return _scripted


@pytest.fixture
def box(db, scripted):
    return ModelServer.objects.create(name="gpu-box", base_url=scripted.url)


@pytest.fixture
def away(db):
    return ModelServer.objects.create(name="away", base_url="http://127.0.0.1:9")


@pytest.fixture
def code(box):
    expert = Expert.objects.create(slug="code", name="Code")
    return Replica.objects.create(expert=expert, server=box, model="llama3.2:3b", num_ctx=2048, keep_alive="-1")


def models(*arguments, out=None):
    out = out or io.StringIO()
    errors = io.StringIO()
    call_command("models", *arguments, stdout=out, stderr=errors)
    return out.getvalue() + errors.getvalue()


class TestList:
    def test_shows_what_is_installed_and_what_is_in_memory(self, box, scripted):
        scripted.loaded["llama3.2:3b"] = Residency(context_length=8192, vram=0.5)
        text = models("list")
        assert f"gpu-box  ({scripted.url}, Ollama 0.32.5)" in text
        [line] = [line for line in text.splitlines() if "llama3.2:3b" in line]
        assert "131072" in line
        assert "completion, tools" in line
        assert "8192 tokens, 50% on GPU, for ever" in line
        assert "not told" in text

    def test_as_json(self, box, away, scripted):
        scripted.loaded["old:latest"] = Residency(context_length=4096)
        first, second = json.loads(models("list", "--json"))
        assert (first["server"], first["models"]) == ("away", [])
        assert "cannot be reached" in first["error"]
        assert second["error"] is None
        assert [model["resident"] and model["resident"]["context_length"] for model in second["models"]] == [None, 4096]
        assert second["models"][0]["capabilities"] == ["completion", "tools"]

    def test_a_server_that_is_away_is_shown_with_the_reason(self, box, away):
        text = models("list")
        assert "away" in text
        assert "cannot be reached" in text
        assert "llama3.2:3b" in text

    def test_fails_when_none_answers(self, away):
        with pytest.raises(CommandError, match="No model server answers"):
            models("list")

    def test_one_server(self, box, away):
        assert "away" not in models("list", "--server", "gpu-box")

    @pytest.mark.django_db
    def test_none_at_all(self):
        assert "OLLAMA_BASE_URL" in models("list")


class TestPull:
    def test_plain_lines_and_what_comes_of_it(self, box, scripted):
        scripted.offer(NEW)
        text = models("pull", "qwen3:8b")
        assert "\r" not in text
        assert "pulling manifest\n" in text
        assert "% (" in text
        assert "success\nPulled qwen3:8b to gpu-box.\n" in text
        assert "3 models installed on gpu-box" in text
        assert "No expert uses it yet" in text
        assert box.installed_models.filter(name="qwen3:8b").exists()
        percents = [line for line in text.splitlines() if "% (" in line]
        assert len(percents) == len(set(percents)) <= 10

    def test_a_bar_on_a_terminal(self, box, scripted):
        scripted.offer(NEW)
        scripted.reply(Reply(delay=0.03), path="/api/pull")
        text = models("pull", "qwen3:8b", out=Terminal())
        assert "\r[" in text
        assert "###" in text
        assert "of 2.9 MB" in text
        assert "\nPulled qwen3:8b" in text

    def test_proposes_experts_on_a_server_that_had_none(self, box, scripted):
        Expert.objects.create(slug="general", name="General")
        scripted.models.clear()
        scripted.offer(NEW)
        assert "1 replica proposed" in models("pull", "qwen3:8b")
        assert Replica.objects.filter(expert__slug="general", model="qwen3:8b").exists()

    def test_an_error_in_words(self, box):
        with pytest.raises(CommandError, match="Check the name"):
            models("pull", "no-such-model")

    @pytest.fixture
    def _ctrl_c_heard(self):
        """Ctrl-C has its usual meaning, also where a process of pytest-xdist does not listen to it."""
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        yield
        signal.signal(signal.SIGINT, before)

    @pytest.mark.usefixtures("_ctrl_c_heard")
    def test_ctrl_c_cancels_and_says_that_it_goes_on(self, box, scripted):
        scripted.offer(NEW)

        def interrupt(progress):
            if progress.completed:
                signal.raise_signal(signal.SIGINT)

        scripted.reply(Reply(hang_after=8), path="/api/pull")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(PullDisplay, "show", lambda self, progress: interrupt(progress))
            with pytest.raises(CommandError, match="Pulling qwen3:8b again goes on where it stopped") as caught:
                models("pull", "qwen3:8b")
        assert caught.value.returncode == 130
        assert scripted.requests_to("/api/pull")[0].wait_disconnected()


class TestMemory:
    def test_warm_takes_the_replicas_window_and_time(self, box, code, scripted):
        assert "window of 2048 tokens" in models("warm", "llama3.2:3b")
        assert scripted.loaded["llama3.2:3b"].context_length == 2048
        assert scripted.loaded["llama3.2:3b"].expires_at is None
        assert "Unloaded" in models("unload", "llama3.2:3b")
        assert not scripted.loaded

    def test_a_window_is_no_more_than_the_model_was_trained_for(self, box, scripted):
        models("refresh")
        expert = Expert.objects.create(slug="x", name="X")
        Replica.objects.create(expert=expert, server=box, model="OLD", num_ctx=1_000_000)
        assert "window of 8192 tokens" in models("warm", "old")

    def test_replicas_that_disagree_are_told(self, box, code, scripted):
        expert = Expert.objects.create(slug="math", name="Math", position=200)
        other = Replica.objects.create(expert=expert, server=box, model="llama3.2:3b")
        Replica.objects.filter(pk=code.pk).update(num_ctx=2048)
        Replica.objects.filter(pk=other.pk).update(num_ctx=None)
        assert "(2048, the server's own)" in models("warm", "llama3.2:3b")

    def test_a_model_that_is_not_there(self, box):
        with pytest.raises(CommandError, match="does not have the model 'nothing'"):
            models("warm", "nothing")

    def test_a_server_of_another_kind(self, box):
        ModelServer.objects.update(kind="openai")
        for action in ("warm", "unload", "pull", "delete"):
            with pytest.raises(CommandError, match="Ollama servers only"):
                models(action, "llama3.2:3b")


class TestDelete:
    def test_names_the_replicas_that_use_it(self, box, code, scripted):
        text = models("delete", "llama3.2:3b", "--yes")
        assert "used by replicas of these experts: code" in text
        assert "Deleted llama3.2:3b from gpu-box." in text
        assert [model.name for model in scripted.models] == ["old:latest"]

    def test_does_not_delete_when_there_is_nobody_to_ask(self, box, scripted, monkeypatch):
        monkeypatch.setattr(sys, "stdin", io.StringIO())
        with pytest.raises(CommandError, match="--yes"):
            models("delete", "old")
        assert len(scripted.models) == 2

    @pytest.mark.parametrize(("answer", "left"), [("y", 1), ("", 2), ("no", 2)])
    def test_asks(self, box, scripted, monkeypatch, answer, left):
        asked = []
        monkeypatch.setattr(command, "_is_terminal", lambda: True)
        monkeypatch.setattr("builtins.input", lambda question: asked.append(question) or answer)
        if left == 1:
            models("delete", "old")
        else:
            with pytest.raises(CommandError, match="Nothing was deleted"):
                models("delete", "old")
        assert asked == ["Delete old from gpu-box? [y/N] "]
        assert len(scripted.models) == left

    def test_takes_it_from_the_list_of_installed_models(self, box):
        models("refresh")
        models("delete", "old", "--yes")
        assert [model.name for model in box.installed_models.all()] == ["llama3.2:3b"]


class TestWhichServer:
    def test_several_must_be_named(self, box, away):
        with pytest.raises(CommandError, match="--server: away, gpu-box"):
            models("warm", "llama3.2:3b")
        assert "Loaded llama3.2:3b on gpu-box" in models("warm", "llama3.2:3b", "--server", "gpu-box")

    def test_the_embedded_one_does_not_count(self, box):
        ModelServer.objects.create(name="embedded", kind="openai", base_url="http://127.0.0.1:9", embedded=True)
        assert "Loaded llama3.2:3b on gpu-box" in models("warm", "llama3.2:3b")

    def test_an_unknown_one(self, box):
        with pytest.raises(CommandError, match=r"no model server .gpubox.\. There are: gpu-box"):
            models("list", "--server", "gpubox")


def test_refresh_writes_down_what_is_there(box, away):
    text = models("refresh")
    assert "2 models installed on gpu-box" in text
    assert "away: The model server 'away' cannot be reached" in text
    with pytest.raises(CommandError, match="No model server answers"):
        models("refresh", "--server", "away")


# The progress line


@pytest.mark.parametrize(
    ("progress", "speed", "line"),
    [
        (PullProgress(status="pulling manifest"), 0, "pulling manifest"),
        (
            PullProgress(status="pulling a", completed=2**20, total=2**22),
            2**20,
            "[######------------------]  25%  1.0 MB of 4.0 MB  1.0 MB/s  3 s left",
        ),
        (
            PullProgress(status="pulling a", completed=0, total=2**22),
            0,
            "[------------------------]   0%  0 bytes of 4.0 MB",
        ),
        (
            PullProgress(status="verifying sha256 digest", completed=2**22, total=2**22),
            9,
            "[########################] 100%  4.0 MB of 4.0 MB  verifying sha256 digest",
        ),
    ],
)
def test_the_line_of_a_pull(progress, speed, line):
    assert bar(progress, speed) == line


def test_speed_is_of_the_last_seconds_and_without_what_was_there():
    speed = Speed()
    assert speed.feed(0.0, 5_000) == 0
    assert speed.feed(1.0, 6_000) == 1000
    assert speed.feed(2.0, 8_000) == 1500
    for second in range(3, 12):
        last = speed.feed(float(second), 8_000)
    assert last == 0


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0 s"), (59, "59 s"), (61, "1 min 01 s"), (7800, "2 h 10 min")])
def test_a_time_left(seconds, text):
    assert duration(seconds) == text


def test_a_line_is_never_wider_than_the_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "30")
    terminal = Terminal()
    terminal.write = lambda text, ending="": io.StringIO.write(terminal, text + ending)
    display = PullDisplay(terminal)
    display.show(PullProgress(status="pulling a", completed=1, total=10))
    assert len(terminal.getvalue().removeprefix("\r").removesuffix("\x1b[K")) == 29
