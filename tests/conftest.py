import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from routing.live import LiveSnapshot
from tests.environment import DATA_DIR
from tests.scripted import ScriptedModel, ScriptedServer
from tests.serving import Served, opened

_numbers = itertools.count(1)


def new_data_dir() -> Path:
    return DATA_DIR / f"installation-{next(_numbers)}"


@pytest.fixture(autouse=True)
def _fresh_snapshots() -> None:
    """No test sees the rows another one had."""
    for snapshot in LiveSnapshot.registry:
        snapshot.forget()


@pytest.fixture(autouse=True)
def _close_clients() -> Iterator[None]:
    yield
    while opened:
        opened.pop().close()


@pytest.fixture(scope="session")
def served() -> Iterator[Served]:
    """An installation of a machine with nothing else: embedded database, embedded language model."""
    running = Served(new_data_dir(), environment={"EMBEDDED_MODELS": "auto"}).start()
    yield running
    running.stop()


@pytest.fixture(scope="session")
def _ollama() -> Iterator[ScriptedServer]:
    models = [
        ScriptedModel(name="llama3.2:3b", capabilities=("completion", "tools"), context_length=131072),
        ScriptedModel(name="qwen2.5-coder:7b", parameter_size="7B", capabilities=("completion", "tools", "insert")),
        ScriptedModel(name="deepseek-r1:8b", parameter_size="8B", capabilities=("completion", "thinking")),
        ScriptedModel(name="llava:7b", parameter_size="7B", capabilities=("completion", "vision")),
        ScriptedModel(name="nomic-embed-text:latest", parameter_size="137M", capabilities=("embedding",)),
    ]
    with ScriptedServer(models) as server:
        yield server


@pytest.fixture(scope="session")
def _served_ollama(_ollama: ScriptedServer) -> Iterator[Served]:
    environment = {
        "OLLAMA_BASE_URL": _ollama.url,
        "STREAM_HEARTBEAT_SECONDS": "0.3",
        "UPSTREAM_FIRST_BYTE_TIMEOUT": "3",
        "UPSTREAM_IDLE_TIMEOUT": "1.5",
        # Each fault is met once and for itself; retries and breakers have tests of their own (tests/routing).
        "UPSTREAM_MAX_RETRIES": "0",
        "CIRCUIT_BREAKER_THRESHOLD": "1000",
    }
    running = Served(new_data_dir(), environment=environment).start()
    yield running
    running.stop()


@pytest.fixture
def ollama(_ollama: ScriptedServer) -> ScriptedServer:
    """A scripted Ollama server, without the traces of earlier tests."""
    _ollama.clear()
    return _ollama


@pytest.fixture
def served_ollama(_served_ollama: Served, ollama: ScriptedServer) -> Served:
    """An installation whose one model server is ``ollama``; its time limits are short."""
    return _served_ollama
