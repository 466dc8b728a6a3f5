"""Settings and their documentation are one list."""

import ast
import errno
import os
import re
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from moe_site.secret_key import read_or_create_secret_key

ROOT = Path(__file__).resolve().parents[2]


def documented():
    text = (ROOT / ".env.example").read_text()
    return re.findall(r"^([A-Z][A-Z0-9_]*)=", text, re.MULTILINE)


def read_in_settings():
    tree = ast.parse((ROOT / "moe_site/settings.py").read_text())
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and isinstance(node.func.value, ast.Name)
            and node.func.value.id == "env"
            and node.func.attr not in ("database", "read_env")
        ):
            yield ast.literal_eval(node.args[0])


def test_every_variable_is_documented_and_every_documented_one_is_read():
    assert sorted(documented()) == sorted(set(read_in_settings()))
    assert len(documented()) == len(set(documented()))


def test_every_variable_has_a_sentence():
    lines = (ROOT / ".env.example").read_text().splitlines()
    for number, line in enumerate(lines):
        if re.match(r"[A-Z]", line):
            assert lines[number - 1].startswith("# "), line


def test_nothing_else_reads_the_environment():
    allowed = {"moe_site/settings.py"}
    for room in ("moe_site", "gateway", "knowledge", "routing"):
        for path in (ROOT / room).rglob("*.py"):
            name = str(path.relative_to(ROOT))
            if name not in allowed:
                # DJANGO_SETTINGS_MODULE names the settings; PATH is handed on to PostgreSQL's programs.
                text = re.sub(
                    r'os\.environ\.setdefault\("DJANGO_SETTINGS_MODULE"[^\n]*|os\.environ\.get\("PATH"',
                    "",
                    path.read_text(),
                )
                assert "os.environ" not in text, name
                assert "getenv" not in text, name


def test_the_example_is_a_working_configuration(tmp_path):
    environment = {name: value for name, value in os.environ.items() if name not in documented()}
    environment |= {"MOE_ENV_FILE": str(ROOT / ".env.example"), "MOE_DATA_DIR": str(tmp_path)}
    stood_in = tmp_path / "elsewhere"
    stood_in.mkdir()
    command = [sys.executable, str(ROOT / "manage.py"), "check"]
    done = subprocess.run(command, cwd=stood_in, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert list(stood_in.iterdir()) == [], "figures of Prometheus, or what else is left wherever a command is run"


class TestSecretKey:
    def test_is_made_once_and_kept_for_the_owner_alone(self, tmp_path):
        key = read_or_create_secret_key(tmp_path / "new")
        assert len(key) >= 50
        assert read_or_create_secret_key(tmp_path / "new") == key
        assert stat.S_IMODE((tmp_path / "new/secret_key").stat().st_mode) == 0o600

    def test_processes_that_start_together_get_the_same(self, tmp_path):
        keys = []
        threads = [threading.Thread(target=lambda: keys.append(read_or_create_secret_key(tmp_path))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(set(keys)) == 1

    def test_an_empty_one_is_not_used_and_not_replaced(self, tmp_path):
        (tmp_path / "secret_key").touch()
        with pytest.raises(OSError, match="is empty"):
            read_or_create_secret_key(tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == ["secret_key"]

    def test_a_disk_without_room_is_left_as_it_was(self, tmp_path, monkeypatch):
        def full(descriptor):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            read_or_create_secret_key(tmp_path)
        assert list(tmp_path.iterdir()) == []


def test_a_data_directory_that_cannot_be_written_stops_a_command_in_words(tmp_path):
    (tmp_path / "file").touch()
    environment = os.environ | {"MOE_DATA_DIR": str(tmp_path / "file")}
    environment.pop("SECRET_KEY", None)
    command = [sys.executable, str(ROOT / "manage.py"), "serve"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    for told in ("moe_site.E019", "moe_site.E023", "MOE_DATA_DIR"):
        assert told in done.stderr
