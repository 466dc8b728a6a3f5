"""A program compiled and measured with the real embedded model, which is small: it must end, and be honest."""

import json
import time

import httpx
import psutil
import pytest

from tests.conftest import new_data_dir
from tests.moe_site.test_serve import Admin, eventually
from tests.scripted import Reply, ScriptedServer
from tests.serving import Served

pytestmark = [pytest.mark.served, pytest.mark.slow]

MINUTES = 14
UNSURE = (
    "Rewrite my loop as prose.",
    "Explain and translate the function name.",
    "Given this, what follows, and how would you write it down as a table?",
)


@pytest.fixture(scope="module")
def installation():
    # Its own: the program it switches on would decide in others' tests.
    running = Served(new_data_dir(), environment={"EMBEDDED_MODELS": "auto"}).start()
    yield running
    running.stop()


def test_it_ends_in_time_and_says_what_it_is_worth(installation):
    began = time.monotonic()
    said = installation.manage(
        *("optimize_router", "--examples", "30", "--held-out", "40", "--minutes", str(MINUTES), "--activate", "--json"),
        timeout=60 * 15,
    )
    assert time.monotonic() - began < 60 * 15
    print(said)
    facts = json.loads(said.splitlines()[-1])
    assert facts["status"] == "done"
    assert 20 <= facts["metrics"]["count"] <= 40
    (gain,) = facts["gains"]
    assert ("Worth switching on." in said) == (gain["interval"][0] > 0)
    assert facts["active"] == (gain["interval"][0] > 0)

    # Forced on, it decides within its limit or not at all.
    installation.manage("optimize_router", "--activate-version", str(facts["program"]), "--force")
    time.sleep(3)
    headers = {"Authorization": f"Bearer {installation.api_key}"}
    asked = 0
    for prompt in UNSURE:
        began = time.monotonic()
        body = {"model": "auto", "messages": [{"role": "user", "content": prompt}]}
        answer = httpx.post(f"{installation.url}/v1/route", json=body, headers=headers, timeout=10).json()
        assert time.monotonic() - began < 2.5
        program = answer["explain"]["program"]
        asked += program is not None
        assert answer["route"] != "program" or answer["expert"] == program["expert"]
    assert asked, "the classifier was sure of all of them"


@pytest.fixture(scope="module")
def model_server():
    answer = Reply(content='{"expert": "general", "confidence": 0.9, "reason": "it is general"}')
    with ScriptedServer(["llama3.2:3b"], default_reply=answer) as server:
        yield server


@pytest.fixture(scope="module")
def scripted(model_server):
    running = Served(new_data_dir(), environment={"OLLAMA_BASE_URL": model_server.url}).start()
    yield running
    running.stop()


def test_it_is_started_in_the_admin_and_ends_with_its_server(scripted, model_server):
    admin = Admin(scripted)
    wanted = {"optimizer": "none", "expert": "general", "examples": "10", "held_out": "20", "minutes": "10"}
    page = admin.post("/admin/routing/routerprogram/optimize/", **wanted, time_limit="1.5", note="")
    assert "is being compiled" in page.text
    now = f"{page.url.path.removesuffix('change/')}now/"
    assert eventually(lambda: 'data-status="done"' in admin.http.get(now).text, 300)
    assert "Asking the program about 20 held-out examples." in admin.http.get(now).text

    # The next one is at its work when the server dies, and does not outlive it.
    model_server.default_reply = Reply(content="{}", first_delay=2.0)
    page = admin.post("/admin/routing/routerprogram/optimize/", **wanted, time_limit="1.5", note="")
    now = f"{page.url.path.removesuffix('change/')}now/"
    assert eventually(lambda: "Learning from the examples" in admin.http.get(now).text, 60)
    compiling = next(one for one in psutil.process_iter(["cmdline"]) if is_compiling(one, scripted))
    scripted.kill()
    compiling.wait(20)


def is_compiling(process, served):
    return "--held-by-stdin" in (process.info["cmdline"] or ()) and str(served.data_dir) in str(process.environ())
