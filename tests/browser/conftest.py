"""A browser that is logged in to an installation's admin, and that complains of what a user would not see."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import new_data_dir
from tests.scripted import ScriptedServer
from tests.serving import Served

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, Response

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
WIDTH, HEIGHT = 1280, 900
STEP_MILLISECONDS = 10_000


# Of the package rather than of the session: while playwright runs, an event loop is running in this thread, in which
# the async tests of other packages could not start theirs.
@pytest.fixture(scope="package")
def browser() -> Iterator["Browser"]:
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        pytest.skip(f"needs a browser, one of {', '.join(BROWSERS)}: apt-get install chromium")
    with playwright.sync_playwright() as running:
        # A container's browser may run as root, and its /dev/shm may be small.
        opened = running.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield opened
        opened.close()


@pytest.fixture(scope="package")
def shop(browser: "Browser", _ollama: ScriptedServer) -> Iterator[Served]:
    """An installation of its own, as what is learnt from an example here would change what others decide."""
    running = Served(new_data_dir(), environment={"OLLAMA_BASE_URL": _ollama.url}).start()
    yield running
    running.stop()


@pytest.fixture(scope="package")
def session(browser: "Browser", shop: Served) -> Iterator["BrowserContext"]:
    """Whoever logged in, through the form."""
    context = browser.new_context(base_url=shop.url, viewport={"width": WIDTH, "height": HEIGHT})
    context.set_default_timeout(STEP_MILLISECONDS)
    page = context.new_page()
    problems = problems_of(page)
    page.goto("/admin/")
    page.get_by_label("Username").fill("admin")
    page.get_by_label("Password").fill(shop.admin_password)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url("**/admin/")
    page.close()
    assert problems == []
    yield context
    context.close()


@pytest.fixture
def page(session: "BrowserContext") -> Iterator["Page"]:
    """A page of the admin; no test passes in which it logs an error or asks for what there is not."""
    opened = session.new_page()
    problems = problems_of(opened)
    yield opened
    opened.close()
    assert problems == []


def problems_of(page: "Page") -> list[str]:
    """Return a list that grows by what goes wrong in ``page``."""
    problems: list[str] = []

    def said(message: "ConsoleMessage") -> None:
        if message.type in ("error", "warning"):
            problems.append(f"console {message.type}: {message.text}")

    def answered(response: "Response") -> None:
        if response.status >= 400:
            problems.append(f"{response.status} {response.request.method} {response.url}")

    def failed(request: "Request") -> None:
        if request.failure != "net::ERR_ABORTED":  # a page may think better of it: choices asked for while one types
            problems.append(f"{request.failure} {request.method} {request.url}")

    page.on("console", said)
    page.on("pageerror", lambda error: problems.append(f"script: {error}"))
    page.on("response", answered)
    page.on("requestfailed", failed)
    return problems


@pytest.fixture
def jsonl(tmp_path: Path) -> Path:
    return tmp_path / "prompts.jsonl"
