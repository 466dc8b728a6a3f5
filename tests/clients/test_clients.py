"""Clients people really use, in environments of their own (`make clients`), against a scripted Ollama behind us."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.scripted import Reply, ToolCall

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PYTHON = ROOT / ".venv-clients" / "bin" / "python"

pytestmark = [pytest.mark.served, pytest.mark.clients]

needs_node = pytest.mark.skipif(
    not (shutil.which("node") and (HERE / "node_modules").exists()),
    reason="needs Node.js and its packages: make clients",
)
needs_python = pytest.mark.skipif(not PYTHON.exists(), reason="needs its own environment: make clients")

HELLO = Reply(content=["Hel", "lo."])
CALL = Reply(tool_calls=[ToolCall(name="weather", arguments={"city": "Rome"})])


def run(served, *command, **environment):
    variables = {
        "BASE_URL": f"{served.url}/v1",
        "API_KEY": served.api_key,
        "PATH": os.environ["PATH"],
        "HOME": str(served.data_dir),
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # no look at the network
        **environment,
    }
    done = subprocess.run(command, cwd=HERE, env=variables, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def result(served, *command):
    return json.loads(run(served, *command).strip().splitlines()[-1])


@needs_node
def test_the_official_node_sdk(served_ollama, ollama):
    for reply in (HELLO, HELLO, CALL):
        ollama.reply(reply)
    found = result(served_ollama, "node", "openai_node.mjs")
    assert found["usage"] > 0
    del found["usage"]
    assert found == {
        "answer": "Hello.",
        "streamed": "Hello.",
        "called": [["weather", {"city": "Rome"}]],
        "finish": "tool_calls",
        "embedding": [384, 384],
        "error": {"name": "NotFoundError", "status": 404, "code": "model_not_found", "id": True},
    }


@needs_node
def test_the_official_node_sdk_on_files_and_vector_stores(served_ollama):
    found = result(served_ollama, "node", "openai_node_stores.mjs")
    counts = {"in_progress": 0, "completed": 2, "failed": 0, "cancelled": 0, "total": 2}
    assert found == {
        "store": ["vector_store", "Node handbook", {"team": "people"}],
        "batch": ["completed", counts],
        "added": ["completed", {"topic": "pets", "year": 2024}, 100],
        "found": ["leave.md", "Sick leave is approved by the team lead."],
        "filtered": ["pets.md"],
        "listed": 3,
        "content": ["Dogs stay at home on Mondays."],
        "original": "Dogs stay at home on Mondays.",
        "left": 1,
        "after": [],
        "deleted": True,
        "files": 0,
        "error": {"name": "NotFoundError", "status": 404, "code": "vector_store_not_found"},
    }


@needs_node
def test_the_vercel_ai_sdk(served_ollama, ollama):
    for reply in (HELLO, HELLO, CALL, Reply(content="It is sunny.")):
        ollama.reply(reply)
    found = result(served_ollama, "node", "vercel_ai.mjs")
    assert found.pop("tokens") > 0
    assert found == {"text": "Hello.", "streamed": "Hello.", "ran": ["Rome"], "afterwards": "It is sunny."}


@needs_node
def test_the_official_node_sdk_on_responses(served_ollama, ollama):
    for reply in (HELLO, HELLO, CALL, Reply(content="It is sunny."), Reply(content=["One", "two"], error_after=1)):
        ollama.reply(reply)
    assert result(served_ollama, "node", "openai_node_responses.mjs") == {
        "answer": "Hello.",
        "streamed": "Hello.",
        "final": ["completed", "Hello.", True],
        "called": ["function_call", "weather", {"city": "Rome"}],
        "afterwards": "It is sunny.",
        "failed": {"name": "APIError", "code": "upstream_error", "last": "response.failed"},
    }


@needs_node
def test_the_vercel_ai_sdk_on_responses(served_ollama, ollama):
    thinking = Reply(thinking=["Hm", "m."], content=["Hel", "lo."])
    for reply in (HELLO, thinking, CALL, Reply(content="It is sunny."), Reply(content='{"city": "Rome"}')):
        ollama.reply(reply)
    found = result(served_ollama, "node", "vercel_ai_responses.mjs")
    assert found.pop("tokens") > 0
    assert found == {
        "text": "Hello.",
        "streamed": "Hello.",
        "thought": "Hmm.",
        "ran": ["Rome"],
        "afterwards": "It is sunny.",
        "output": {"city": "Rome"},
    }


@needs_python
def test_langchain(served_ollama, ollama):
    for reply in (HELLO, CALL, HELLO):
        ollama.reply(reply)
    found = result(served_ollama, str(PYTHON), "langchain_client.py")
    assert found.pop("usage") > 0
    assert found == {
        "answer": "Hello.",
        "streamed": "Hello.",
        "called": [["weather", {"city": "Rome"}]],
        "embedding": [384, 384],
    }


@needs_python
def test_litellm(served_ollama, ollama):
    for reply in (HELLO, HELLO, CALL):
        ollama.reply(reply)
    found = result(served_ollama, str(PYTHON), "litellm_client.py")
    assert found == {"answer": "Hello.", "streamed": "Hello.", "called": [["weather", {"city": "Rome"}]]}


@needs_python
def test_the_llm_command_line(served_ollama, ollama, tmp_path):
    (tmp_path / "extra-openai-models.yaml").write_text(
        f"- model_id: moe\n  model_name: general\n  api_base: {served_ollama.url}/v1\n  api_key_name: moe\n"
    )
    (tmp_path / "keys.json").write_text(json.dumps({"moe": served_ollama.api_key}))
    ollama.reply(HELLO)
    answer = run(served_ollama, str(PYTHON), "-m", "llm", "-m", "moe", "Hello", LLM_USER_PATH=str(tmp_path))
    assert answer.strip() == "Hello."
