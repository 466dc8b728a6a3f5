"""Parsing in a process of its own: what goes wrong there stays there, and ends."""

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from knowledge.parsing import ParseFailed, Parsers, parse, pool, shared_parsers
from tests.knowledge.parsing.making import docx, lines, p, pdf, rows, xlsx

ROOT = Path(__file__).resolve().parents[3]
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def parsers():
    with Parsers() as parsers:
        yield parsers


@pytest.fixture
def obedient(monkeypatch):
    """Parsers whose children do what a text says."""
    monkeypatch.setattr(pool, "CHILD", "tests.knowledge.parsing.misbehaving")
    with Parsers(memory=300 * MIB) as parsers:
        yield parsers


def failure(parsers: Parsers, data: bytes | str) -> ParseFailed:
    with pytest.raises(ParseFailed) as caught:
        parsers.parse(data.encode() if isinstance(data, str) else data, name="x.txt")
    return caught.value


def order(parsers: Parsers, text: str) -> str:
    return parsers.parse(text.encode(), name="x.txt").blocks[0].text


def children() -> list[psutil.Process]:
    return psutil.Process().children()


# --- as it should be ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (docx(p("Words.")), "a.docx"),
        (pdf([lines("Words."), None]), "a.pdf"),
        (xlsx({"S": rows([["a", "b"], [1, 2]])}), "a.xlsx"),
        (b"---\ntags: [a]\n---\n# H\n```py\nx\n```\n", "a.md"),
        ("שלום 😀".encode(), "\udcff.txt"),
        (b"row of words\n" * 400_000, "large.txt"),
    ],
)
def test_it_answers_as_parse_does(parsers, data, name):
    assert parsers.parse(data, name=name) == parse(data, name=name)


def test_failures_come_through(parsers):
    failed = failure(parsers, pdf([None]))
    assert (failed.code, "OCR" in failed.message) == ("scanned", True)
    assert failure(parsers, b"").code == "empty"


def test_one_child_reads_one_document_after_the_other(obedient):
    assert order(obedient, "tell") == order(obedient, "tell")


def test_threads_share_children(monkeypatch):
    monkeypatch.setattr(pool, "CHILD", "tests.knowledge.parsing.misbehaving")
    with Parsers(processes=2, seconds=60) as parsers, ThreadPoolExecutor(6) as threads:
        told = list(threads.map(lambda _: order(parsers, "sleep 0.05"), range(12)))
    assert len(set(told)) == 2


def test_a_child_is_replaced_after_so_many_documents(obedient, monkeypatch):
    monkeypatch.setattr(pool, "MOST_DOCUMENTS", 2)
    told = [order(obedient, "tell") for _ in range(4)]
    assert told[0] == told[1] != told[2] == told[3]


def test_the_parsers_of_this_process_are_made_once():
    assert shared_parsers() is shared_parsers()
    assert shared_parsers().parse(b"words", name="x").blocks[0].text == "words"


# --- what a document does to its parser ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("take_memory", "out_of_memory"),
        (f"die {signal.SIGSEGV.value}", "crashed"),
        (f"die {signal.SIGKILL.value}", "crashed"),
        ("exit 0", "crashed"),
        ("babble", "crashed"),
    ],
)
def test_the_next_document_is_fine(obedient, text, code):
    failed = failure(obedient, text)
    assert failed.code == code
    assert failed.message.endswith(".")
    assert order(obedient, "tell").startswith("tell ")


@pytest.mark.parametrize("text", ["loop", "loop_in_c"])
def test_one_that_never_ends_is_given_up(obedient, text):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(obedient, "_seconds", 1.5)  # only for this one: how long others take is the machine's business
        assert failure(obedient, text).code == "timed_out"
    assert order(obedient, "tell").startswith("tell ")


def test_a_workbook_that_claims_a_cell_at_its_far_end(parsers):
    cells = (f'<row r="{row}"><c r="{column}{row}"><v>1</v></c></row>' for column, row in (("A", 1), ("XFD", 1048576)))
    assert failure(parsers, xlsx({"S": f"<sheetData>{''.join(cells)}</sheetData>"})).code in (
        "crashed",
        "out_of_memory",
        "broken",
    )
    assert parsers.parse(b"words", name="x").blocks[0].text == "words"


def test_a_document_larger_than_a_parsers_memory():
    with Parsers(memory=64 * MIB) as parsers:
        assert failure(parsers, bytes(range(32, 127)) * 2 * MIB).code in ("out_of_memory", "crashed")
        assert parsers.parse(b"words", name="x").blocks[0].text == "words"


def test_a_child_killed_in_the_middle(obedient):
    order(obedient, "tell")
    (child,) = (child for child in children() if "misbehaving" in " ".join(child.cmdline()))
    threading.Timer(0.3, child.kill).start()
    assert failure(obedient, "sleep 30").code == "crashed"
    assert order(obedient, "tell") != f"tell {child.pid}"


def test_signals_to_the_whole_service_are_the_parents(obedient):
    pid = int(order(obedient, "tell").split()[1])
    for wanted in (signal.SIGTERM, signal.SIGINT):
        threading.Timer(0.2, os.kill, (pid, wanted)).start()
        assert order(obedient, "sleep 0.5") == f"sleep {pid}"


def test_a_child_killed_while_it_waits(obedient):
    pid = int(order(obedient, "tell").split()[1])
    os.kill(pid, signal.SIGKILL)
    time.sleep(0.1)
    assert order(obedient, "tell").startswith("tell ")


def test_what_libraries_print_gets_lost(obedient):
    assert order(obedient, "chatter").startswith("chatter ")


def test_a_child_has_no_secrets_and_cannot_write(obedient, monkeypatch, tmp_path):
    monkeypatch.setenv("DATABASE_URL", "postgres://secret")
    assert "DATABASE_URL" not in order(obedient, "environment").split()
    assert failure(obedient, f"write {tmp_path / 'file'}").code == "broken"
    assert not (tmp_path / "file").exists() or not (tmp_path / "file").read_bytes()


# --- the end ------------------------------------------------------------------------------------------------


def test_closing_ends_what_runs(obedient):
    threading.Timer(0.3, obedient.close).start()
    began = time.monotonic()
    assert failure(obedient, "sleep 30").code == "closed"
    assert time.monotonic() - began < 15
    assert failure(obedient, "tell").code == "closed"
    assert not [child for child in children() if "misbehaving" in " ".join(child.cmdline())]


@pytest.mark.parametrize("text", ["loop_in_c", "sleep 30", ""])
def test_a_child_ends_when_its_parent_is_killed(text, tmp_path):
    code = f"""
from knowledge.parsing import Parsers, pool
pool.CHILD = "tests.knowledge.parsing.misbehaving"
parsers = Parsers()
print(parsers.parse(b"tell", name="x").blocks[0].text.split()[1], flush=True)
parsers.parse({text.encode()!r}, name="x") if {text!r} else input()
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout
        child = psutil.Process(int(parent.stdout.readline()))
        time.sleep(0.5)
        assert child.is_running()
        parent.kill()
        parent.wait()
    _, alive = psutil.wait_procs([child], timeout=20)
    # One that has ended and that nobody has taken note of yet runs no more.
    assert all(one.status() == psutil.STATUS_ZOMBIE for one in alive)


def test_a_child_ends_itself_when_nobody_does(monkeypatch):
    monkeypatch.setattr(pool, "CHILD", "tests.knowledge.parsing.misbehaving")
    child = pool._Child(memory=300 * MIB, seconds=0.5, ocr=False)
    with pytest.raises(EOFError):
        child.ask(b"loop_in_c", name="x", mime="", seconds=300)
    assert child.end() == -signal.SIGXCPU
