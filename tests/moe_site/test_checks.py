"""Misconfiguration is told at the start, under ids that stay, with what to change."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.checks import Tags, run_checks

from moe_site.checks import settings as setting_checks
from moe_site.checks.database import SERVER, _version_errors
from moe_site.checks.exposure import start_warnings
from moe_site.checks.surroundings import _unmet
from moe_site.environment import Environment, unknown_names
from routing.models import Expert, InstalledModel, ModelServer, Replica, RoutingRule

ROOT = Path(__file__).resolve().parents[2]


def ids():
    """Return the ids of what is found now."""
    return {message.id for message in run_checks() if message.id.split(".")[0] in ("moe_site", "routing", "knowledge")}


def told(number):
    return next(f"{message.msg} {message.hint}" for message in run_checks() if message.id == number)


@pytest.fixture(autouse=True)
def _closed(settings, tmp_path):
    """A data directory as `serve` makes it."""
    settings.MOE_DATA_DIR = tmp_path / "data"
    settings.MOE_DATA_DIR.mkdir(mode=0o711)


# --- the list --------------------------------------------------------------------------------------------------


def registered():
    """Return every id in the source."""
    found = set()
    for room in ("moe_site/checks", "routing/checks.py", "knowledge/checks.py"):
        path = ROOT / room
        for source in path.rglob("*.py") if path.is_dir() else [path]:
            found |= set(re.findall(r'id="((?:moe_site|routing|knowledge)\.[EW]\d{3})"', source.read_text()))
    return found


def test_the_documentation_lists_every_id_once():
    documented = re.findall(r"^\| `([a-z_]+\.[EW]\d{3})` \|", (ROOT / "docs/checks.md").read_text(), re.MULTILINE)
    assert sorted(documented) == sorted(registered())


def test_every_number_of_the_settings_has_a_range():
    tree = ast.parse((ROOT / "moe_site/settings.py").read_text())
    numbers = {
        ast.literal_eval(node.args[0])
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and ast.unparse(node.func.value) == "env"
        and node.func.attr in ("int", "float")
    }
    assert numbers == {*setting_checks.ABOVE_ZERO, *setting_checks.ZERO_OR_MORE}


def test_a_fresh_installation_has_nothing_to_say():
    assert ids() == set()


# --- the environment -------------------------------------------------------------------------------------------


@pytest.fixture
def environment(monkeypatch):
    def made(**values):
        for name, value in values.items():
            monkeypatch.setenv(name, value)
        return Environment()

    return made


def test_an_empty_variable_is_its_default(environment):
    env = environment(A="", B="  ", C="7")
    assert (env.int("A", default=3), env.bool("B", default=True), env.int("C", default=3)) == (3, True, 7)
    assert env.unreadable == []


@pytest.mark.parametrize("text", ["ture", "flase", "2", "none"])
def test_a_slip_in_a_switch_does_not_turn_it_off(environment, text):
    env = environment(REQUIRE_API_KEY=text)
    assert env.bool("REQUIRE_API_KEY", default=True) is True
    assert env.unreadable[0].name == "REQUIRE_API_KEY"


@pytest.mark.parametrize("text", ["true", "Yes", "ON", "1", "false", "No", "off", "0"])
def test_switches_have_many_words(environment, text):
    env = environment(S=text)
    assert env.bool("S", default=None) is (text.lower() in ("true", "yes", "on", "1"))


@pytest.mark.parametrize(("kind", "text"), [("int", "many"), ("int", "1.5"), ("float", "nan"), ("float", "1,5")])
def test_what_is_no_number_is_remembered_and_counts_as_not_set(environment, kind, text):
    env = environment(N=text)
    assert getattr(env, kind)("N", default=4) == 4
    assert env.unreadable[0].value == text


def test_time_zones_and_choices_are_told_too(environment):
    env = environment(Z="Europe/Atlantis", L="LOUD", M="debug")
    assert env.zone("Z", default="UTC") == "UTC"
    assert env.choice("L", ("DEBUG", "INFO"), default="INFO") == "INFO"
    assert env.choice("M", ("DEBUG", "INFO"), default="INFO") == "DEBUG"
    assert [found.name for found in env.unreadable] == ["Z", "L"]


def test_lines_that_nothing_reads_are_found(tmp_path):
    (tmp_path / ".env").write_text("# X=1\nQUEUE_LIMITS=3\nexport QUEUE_LIMIT=4\nZZZ=1\n")
    found = dict(unknown_names(tmp_path / ".env", {"QUEUE_LIMIT", "LOG_LEVEL"}))
    assert found == {"QUEUE_LIMITS": "QUEUE_LIMIT", "ZZZ": ""}


def test_all_of_it_is_told_in_words_and_not_by_a_traceback(tmp_path):
    (tmp_path / ".env").write_text(
        "REQUIRE_API_KEY=ture\nQUEUE_LIMIT=many\nTIME_ZONE=Mars/Olympus\nLOG_LEVEL=LOUD\nQUEUE_LIMITS=4\n"
        "DATABASE_URL=mysql://root:canary-password@db/moe\nREDIS_URL=http://:canary-password@cache\n"
    )
    done = subprocess.run(
        [sys.executable, "manage.py", "check"],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "MOE_ENV_FILE": str(tmp_path / ".env"), "MOE_DATA_DIR": str(tmp_path / "data")},
        capture_output=True,
        text=True,
        check=False,
    )
    told = done.stdout + done.stderr
    assert done.returncode == 1
    assert "Traceback" not in told
    assert "canary-password" not in told
    for word in ("'ture'", "'many'", "'Mars/Olympus'", "'LOUD'", "Did you mean QUEUE_LIMIT?", "E009", "E013"):
        assert word in told


# --- settings --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "number"),
    [
        ("EMBEDDED_MODELS", "maybe", "moe_site.E001"),
        ("OLLAMA_BASE_URL", ["gpu-box:11434"], "moe_site.E002"),
        ("OLLAMA_BASE_URL", ["http://gpu-box:port"], "moe_site.E002"),
        ("QUEUE_TIMEOUT", 0, "moe_site.E003"),
        ("MAX_BODY_BYTES", -1, "moe_site.E003"),
        ("QUEUE_LIMIT", -1, "moe_site.E010"),
        ("USAGE_SUMS_RETENTION_DAYS", 1, "moe_site.W017"),
        ("USAGE_SUMS_RETENTION_DAYS", 30, "moe_site.W017"),
        ("REDIS_URL", "localhost:6379", "moe_site.E013"),
        ("REDIS_URL", "redis://", "moe_site.E013"),
        ("REDIS_URL", "redis://host:many", "moe_site.E013"),
        ("TRUSTED_PROXIES", ["10.0.0.300"], "moe_site.E015"),
        ("TRUSTED_PROXIES", ["0.0.0.0/0"], "moe_site.W014"),
        ("CORS_ALLOWED_ORIGINS", ["chat.example.org"], "moe_site.E016"),
        ("CORS_ALLOWED_ORIGINS", ["https://chat.example.org/app"], "moe_site.E016"),
        ("CORS_ALLOWED_ORIGINS", ["null"], "moe_site.E016"),
        ("CORS_ALLOWED_ORIGINS", ["*"], "moe_site.W008"),
        ("CSRF_TRUSTED_ORIGINS", ["*"], "moe_site.E016"),
        ("ALLOWED_HOSTS", ["https://moe.example.org"], "moe_site.E017"),
        ("ALLOWED_HOSTS", ["moe.example.org:8000"], "moe_site.E017"),
        ("ALLOWED_HOSTS", ["*"], "moe_site.W002"),
        ("FETCH_ALLOWED_HOSTS", ["http://files.lan"], "moe_site.E017"),
        ("SECRET_KEY", "changeme-changeme-changeme-changeme", "moe_site.E018"),
        ("SECRET_KEY", "short", "moe_site.E018"),
        ("REQUIRE_API_KEY", False, "moe_site.W005"),
        ("BEHIND_TLS", True, "moe_site.W004"),
        ("WATCH_FOLDERS", ["/no/such/folder"], "moe_site.W007"),
        ("KNOWLEDGE_OCR", True, "moe_site.E022"),
    ],
)
def test_each_mistake_is_found_and_the_variable_named(settings, name, value, number):
    setattr(settings, name, value)
    assert ids() == {number}
    assert name in told(number)


@pytest.mark.parametrize("days", [0, 31])
def test_sums_that_last_as_long_as_any_month_are_right(settings, days):
    settings.USAGE_SUMS_RETENTION_DAYS = days
    assert ids() == set()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OLLAMA_BASE_URL", ["https://ollama.com", "http://[::1]:11434/"]),
        ("TRUSTED_PROXIES", ["10.0.0.2", "172.18.0.0/16", "::1"]),
        ("CORS_ALLOWED_ORIGINS", ["https://chat.example.org", "http://localhost:3000"]),
        ("CSRF_TRUSTED_ORIGINS", ["https://*.example.org"]),
        ("ALLOWED_HOSTS", ["moe.example.org", ".example.org", "[::1]", "10.0.0.4"]),
        ("FETCH_ALLOWED_HOSTS", ["files.lan", "10.1.0.0/16", "[fd00::1]"]),
        ("REDIS_URL", "redis://:secret@cache:6379/0"),
        ("REDIS_URL", "unix:///run/redis.sock"),
    ],
)
def test_what_is_right_is_left_alone(settings, name, value):
    setattr(settings, name, value)
    assert ids() == set()


def test_a_key_that_travels_in_the_clear_is_told(settings):
    settings.OLLAMA_BASE_URL, settings.OLLAMA_API_KEY = ["http://gpu-box:11434"], "k"
    assert ids() == {"moe_site.W012"}
    settings.OLLAMA_BASE_URL = ["https://gpu-box", "http://127.0.0.1:11434"]
    assert ids() == set()


def test_files_that_others_can_read_are_told(settings):
    key = settings.MOE_DATA_DIR / "secret_key"
    key.write_text("x")
    key.chmod(0o644)
    settings.MOE_DATA_DIR.chmod(0o755)
    found = [message for message in run_checks() if message.id == "moe_site.W006"]
    assert [message.hint.split()[1] for message in found] == ["711", "600"]


def test_a_data_directory_that_is_no_folder_is_told(settings, tmp_path):
    (tmp_path / "file").write_text("")
    settings.MOE_DATA_DIR = tmp_path / "file" / "data"
    assert ids() == {"moe_site.E019"}


@pytest.mark.parametrize(
    ("line", "starts"),
    [
        ("Django>=5.2,<6   # a comment", ""),
        ("# a comment", ""),
        ("", ""),
        ("no-such-thing-at-all>=1", "no-such-thing-at-all is not there"),
        ("Django>=99", "Django is 5"),
        ("psycopg[binary,pool]>=3", ""),
    ],
)
def test_packages_are_compared_with_the_list(line, starts):
    assert _unmet(line).startswith(starts)
    assert bool(_unmet(line)) is bool(starts)


def test_starting_for_others_without_their_names_is_told(settings, monkeypatch):
    monkeypatch.setenv("ALLOWED_HOSTS", "")
    settings.REDIS_URL = ""
    assert [found.id for found in start_warnings(host="0.0.0.0", workers=1)] == ["moe_site.W011"]
    assert [found.id for found in start_warnings(host="127.0.0.1", workers=4)] == ["moe_site.W010"]
    settings.REDIS_URL = "redis://cache"
    monkeypatch.setenv("ALLOWED_HOSTS", "moe.example.org")
    assert start_warnings(host="::", workers=4) == []


# --- deployment ------------------------------------------------------------------------------------------------


def deployed(tmp_path, **variables):
    (tmp_path / ".env").write_text("".join(f"{name}={value}\n" for name, value in variables.items()))
    data = tmp_path / "deployed"
    data.mkdir(mode=0o711)
    done = subprocess.run(
        [sys.executable, "manage.py", "check", "--deploy"],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "MOE_ENV_FILE": str(tmp_path / ".env"), "MOE_DATA_DIR": str(data)},
        capture_output=True,
        text=True,
        check=False,
    )
    return re.findall(r"\(([a-z_]+\.[EW]\d+)\)", done.stdout + done.stderr), done.returncode


def test_check_deploy_is_clean_behind_tls(tmp_path):
    assert deployed(tmp_path, BEHIND_TLS="true", TRUSTED_PROXIES="127.0.0.1") == ([], 0)


def test_check_deploy_is_clean_as_installed(tmp_path):
    assert deployed(tmp_path) == ([], 0)


def test_reached_from_elsewhere_without_tls_it_says_one_thing_that_says_it_all(tmp_path):
    assert deployed(tmp_path, ALLOWED_HOSTS="localhost,[::1],moe.example.org") == (["moe_site.W003"], 0)


def test_tls_without_hsts_says_so(settings):
    settings.BEHIND_TLS, settings.TRUSTED_PROXIES, settings.HSTS_SECONDS = True, ["127.0.0.1"], 0
    found = {message.id for message in run_checks(include_deployment_checks=True) if message.id.startswith("moe_site")}
    assert found == {"moe_site.W013"}


# --- the database ----------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_the_embedded_database_passes():
    assert run_checks(tags=[SERVER], databases=["default"]) == []


@pytest.mark.parametrize(
    ("major", "vector", "expected"),
    [
        (18, "0.8.5", []),
        (14, "0.8.0", []),
        (13, "0.8.5", ["moe_site.E005"]),
        (17, None, ["moe_site.E006"]),
        (17, "0.7.4", ["moe_site.E007"]),
        (12, None, ["moe_site.E005", "moe_site.E006"]),
    ],
)
def test_what_is_too_old_or_missing_names_the_variable(major, vector, expected):
    errors = _version_errors(major, vector)
    assert [error.id for error in errors] == expected
    assert all("DATABASE_URL" in error.hint for error in errors)


# --- the shelf -------------------------------------------------------------------------------------------------


def shelf_ids():
    return {message.id for message in run_checks(tags=[Tags.database], databases=["default"])}


@pytest.fixture
def shelf(db):
    """One expert that can answer."""
    server = ModelServer.objects.create(name="gpu-box", base_url="http://gpu-box:11434")
    InstalledModel.objects.create(server=server, name="qwen3:8b", context_length=32_768)
    expert = Expert.objects.create(slug="all", name="All", is_default=True)
    return Replica.objects.create(expert=expert, server=server, model="qwen3:8b", num_ctx=8_192)


def test_a_shelf_that_answers_has_nothing_to_say(shelf):
    assert shelf_ids() == set()


@pytest.mark.django_db
def test_an_empty_one_is_told():
    assert shelf_ids() >= {"routing.W001", "routing.W002"}


def test_what_leads_nowhere_on_the_shelf(shelf):
    expert, server = shelf.expert, shelf.server
    Replica.objects.update(num_ctx=100_000)
    assert shelf_ids() == {"routing.W007"}
    Replica.objects.update(model="gone:1b", num_ctx=None)
    assert shelf_ids() == {"routing.W006"}
    Replica.objects.update(model="QWEN3:8b")
    Expert.objects.update(is_default=False)
    assert shelf_ids() == {"routing.W005"}
    other = Expert.objects.create(slug="other", name="Other")
    Expert.objects.filter(pk=expert.pk).update(is_default=True)
    assert shelf_ids() == set()  # an expert without a model is what most shelves have
    RoutingRule.objects.create(name="to the other", keywords=["x"], expert=other)
    assert shelf_ids() == {"routing.W004"}
    ModelServer.objects.filter(pk=server.pk).update(enabled=False)
    assert shelf_ids() == {"routing.W001", "routing.W003"}


def test_rules_that_cannot_do_what_they_say(shelf):
    RoutingRule.objects.create(name="nowhere", keywords=["x"], collections=["no-such-shelf"])
    RoutingRule.objects.create(name="never", min_tokens=10, max_tokens=5, expert=shelf.expert)
    assert shelf_ids() == {"routing.W008", "knowledge.W002"}


def test_a_changed_secret_key_is_told_by_the_names_of_the_servers(shelf, settings, caplog):
    ModelServer.objects.create(name="cloud", base_url="https://ollama.com", api_key="canary")
    assert shelf_ids() == set()
    settings.SECRET_KEY = "another key that is long enough to be one, and random too"
    found = run_checks(tags=[Tags.database], databases=["default"])
    assert [message.id for message in found] == ["routing.E001"]
    assert "cloud" in found[0].msg
    assert caplog.text == ""


def test_without_tables_or_database_the_shelf_says_nothing():
    from routing.checks import check_shelf

    assert check_shelf(databases=None) == []
