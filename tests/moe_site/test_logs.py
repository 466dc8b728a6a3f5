"""Log lines: one for a record, with fields, the request they belong to, and no secrets."""

import asyncio
import io
import json
import logging
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from moe_site import logs
from routing.current import CurrentRequest, answering

ROOT = Path(__file__).resolve().parents[2]
KEY = "sk-moe-AbCdEf0123456789_-ghijklmnopqrstuvwxyz"


def logger_with(formatter):
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    handler.addFilter(logs.Context())
    logger = logging.Logger("gateway.tests", logging.DEBUG)
    logger.addHandler(handler)
    return logger, stream


@pytest.fixture
def as_json():
    logger, stream = logger_with(logs.JsonFormatter())
    return logger, lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


@pytest.fixture
def as_lines():
    logger, stream = logger_with(logs.LineFormatter())
    return logger, lambda: stream.getvalue().splitlines()


# --- fields -----------------------------------------------------------------------------------------------------


def test_a_record_is_one_object_with_its_fields(as_json):
    logger, read = as_json
    logger.info("Request processed", extra={"model": "auto", "tokens": 12, "latency_ms": 3.5, "failed": ["a: b"]})
    [line] = read()
    assert line["time"].endswith("+00:00")
    del line["time"]
    assert line == {
        "level": "INFO",
        "logger": "gateway.tests",
        "message": "Request processed",
        "model": "auto",
        "tokens": 12,
        "latency_ms": 3.5,
        "failed": ["a: b"],
    }


def test_what_a_message_names_is_a_field_too(as_json):
    logger, read = as_json
    logger.warning(
        "replica failed replica=%s attempt=%d seconds=%.1f 100%% error=%s", "m@box", 2, 0.25, OSError("gone")
    )
    [line] = read()
    assert line["message"] == "replica failed replica=m@box attempt=2 seconds=0.2 100% error=gone"
    assert (line["replica"], line["attempt"], line["seconds"], line["error"]) == ("m@box", 2, 0.25, "gone")


@pytest.mark.parametrize(
    ("message", "args"),
    [
        ("%s of %s are read", (1, 2)),
        ("%(place)s is full", ({"place": "disk"},)),
        ("nothing %", ()),
        ("time=%s", ("x",)),
    ],
)
def test_other_messages_stay_what_they_are(as_json, message, args):
    logger, read = as_json
    logger.info(message, *args)
    [line] = read()
    assert set(line) == {"time", "level", "logger", "message"}
    assert line["time"] != "x"


def test_an_error_is_fields_in_the_same_line(as_json):
    logger, read = as_json
    try:
        raise ValueError(f"first\nsecond {KEY}")
    except ValueError:
        logger.exception("unexpected error")
    [line] = read()
    assert line["exception"] == "ValueError"
    assert "first\nsecond" in line["traceback"]
    assert "test_logs.py" in line["traceback"]
    assert KEY not in json.dumps(line)


@pytest.mark.parametrize("value", ["half of a pair \ud83d", 2**70, float("nan"), b"\xff", {1: object}])
def test_whatever_a_field_holds_the_line_is_json(as_json, value):
    logger, read = as_json
    logger.info("odd", extra={"value": value})
    assert read()[0]["message"] == "odd"


def test_lines_for_people_have_the_fields_behind_the_message(as_lines):
    logger, read = as_lines
    logger.info("Request processed", extra={"model": "auto", "tokens": 12})
    assert read()[0].endswith(" INFO gateway.tests Request processed model=auto tokens=12")


def test_what_a_client_sends_makes_no_line_of_its_own(as_lines):
    logger, read = as_lines
    forged = "x\n2026-01-01 00:00:00,000 INFO gateway.requests all is well\x1b[2J\u2028"
    logger.warning("refused name=%s", forged, extra={"path": f"/v1/{forged}"})
    [line] = read()
    assert r"x\n2026-01-01" in line
    assert "\x1b" not in line


# --- the request ------------------------------------------------------------------------------------------------


async def test_every_line_of_a_request_has_its_id(as_json):
    logger, read = as_json

    async def serve(name):
        with answering(CurrentRequest(id=name)):
            await asyncio.sleep(0)
            logger.info("in the coroutine", extra={"of": name})
            await asyncio.to_thread(logger.info, "in a thread", extra={"of": name})
            await asyncio.create_task(later(name))

    async def later(name):
        logger.info("in a task", extra={"of": name})

    await asyncio.gather(serve("one"), serve("two"))
    logger.info("nobody's")
    *lines, last = read()
    assert len(lines) == 6
    assert all(line["request_id"] == line["of"] for line in lines)
    assert "request_id" not in last


def test_a_request_seen_further_in_is_the_same_one():
    with answering(CurrentRequest(id="outer")) as outer, answering(CurrentRequest(id="inner")) as inner:
        assert inner is outer


# --- secrets ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f"key {KEY} refused", "key sk-moe-AbCdEf[hidden] refused"),
        ("key=sk-moe-AbCdEf", "key=sk-moe-AbCdEf"),  # how a key is told in the log
        ("OpenAI's sk-proj-abcdefghijklmnop", "OpenAI's sk-[hidden]"),
        ("Authorization: Bearer abc.def-ghi_jkl", "Authorization: [hidden] [hidden]"),
        ("sent 'bearer 0123456789abcdef'", "sent 'bearer [hidden]'"),
        ("postgres://moe:s3cr@t@db.example:5432/moe", "postgres://moe:[hidden]@db.example:5432/moe"),
        ("redis://:hunter22@cache/0", "redis://:[hidden]@cache/0"),
        ("https://example.org/?api_key=0123456789&page=2", "https://example.org/?api_key=[hidden]&page=2"),
        ('{"password": "hunter22", "tokens": 1234}', '{"password": "[hidden]", "tokens": 1234}'),
        ("Cookie: sessionid=0123456789abc; x=1", "Cookie: [hidden]; x=1"),
        ("token\t= 0123456789abcdef", "token\t= [hidden]"),
        ("token\n:0123456789abcdef", "token\n:[hidden]"),
        ("/sources/eyJjIjoxfQ:1abc:sig-nature/", "/sources/[hidden]/"),
        ("prompt_tokens=1234 first_token=12 model=m", "prompt_tokens=1234 first_token=12 model=m"),
        ("REQUIRE_API_KEY=true, SECRET_KEY=false1", "REQUIRE_API_KEY=true, SECRET_KEY=[hidden]"),
        ("Set REQUIRE_API_KEY=true. password=true-love-99", "Set REQUIRE_API_KEY=true. password=[hidden]"),
        ("as postgres://user:password@host:5432/name", "as postgres://user:password@host:5432/name"),
        ("http://box:11434/api/chat to a@b", "http://box:11434/api/chat to a@b"),
    ],
)
def test_secrets_are_hidden_and_nothing_else(text, told):
    assert logs.redacted(text) == told


def test_the_beginning_that_a_key_is_known_by_costs_a_line_no_closer_look():
    assert not logs.may_hold_secrets("Request processed kind=completion key=sk-moe-AbCdEf model=auto tokens=258")
    assert not logs.may_hold_secrets('{"kind":"completion","key":"sk-moe-AbCdEf","model":"auto","prompt_tokens":250}')


@pytest.mark.parametrize("length", range(14, 21))
@pytest.mark.parametrize("key", [KEY, "sk-0123456789abcdefghij"])
def test_whatever_of_a_key_must_be_hidden_is_looked_for(key, length):
    shown = key[:length]
    is_secret = length >= (17 if key is KEY else 19)  # four more than its beginning; of others sixteen letters
    assert (logs.HIDDEN in logs.redacted(f"key={shown}.")) is is_secret


@pytest.mark.parametrize("kind", ["as_json", "as_lines"])
def test_no_way_into_a_line_lets_a_secret_through(request, kind):
    logger, read = request.getfixturevalue(kind)
    logger.error("in the message %s", KEY)
    logger.error(
        "named key=%s", KEY, extra={"nested": {"list": [f"Bearer {KEY}"]}, KEY[:3]: 1, "url": f"x://u:{KEY}@h"}
    )
    try:
        raise RuntimeError(KEY) from ValueError(f"password={KEY}")
    except RuntimeError:
        logger.exception("raised", stack_info=True)
    text = repr(read())
    assert text.count(logs.HIDDEN) >= 6
    assert "0123456789_-ghij" not in text


# --- configuration ----------------------------------------------------------------------------------------------

SPEAK = """
import logging, warnings, django
django.setup()
from moe_site import logs
logs.catch_strays()
for name in ("gateway", "routing.pool", "django.request", "httpx"):
    for level in (10, 20, 30, 40):
        logging.getLogger(name).log(level, "said")
warnings.warn("old\\nway")
raise ZeroDivisionError("lost")
"""


@pytest.mark.parametrize(("level", "ours", "libraries", "refusals"), [("DEBUG", 4, 2, 1), ("ERROR", 1, 1, 1)])
def test_the_level_holds_for_everything_in_a_process(tmp_path, level, ours, libraries, refusals):
    environment = {"LOG_LEVEL": level.lower(), "LOG_FORMAT": "json", "MOE_DATA_DIR": str(tmp_path)}
    done = said(environment)
    lines = [
        json.loads(line) for line in done.stderr.splitlines()
    ]  # each of them is one, the warning's and error's too
    counts = {name: sum(line["logger"] == name for line in lines) for name in ("gateway", "django.request", "httpx")}
    assert counts == {"gateway": ours, "django.request": refusals, "httpx": libraries}
    assert lines[-1]["exception"] == "ZeroDivisionError"
    assert any(line["logger"] == "py.warnings" for line in lines) == (level == "DEBUG")


def said(environment):
    import os

    base = {name: value for name, value in os.environ.items() if not name.startswith("LOG_")}
    return subprocess.run(
        [sys.executable, "-c", SPEAK], cwd=ROOT, env=base | environment, capture_output=True, text=True, check=False
    )


def test_an_error_in_a_thread_is_a_line(monkeypatch, caplog):
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    logs.catch_strays()
    logging.captureWarnings(False)
    thread = threading.Thread(target=lambda: 1 / 0, name="worker")
    thread.start()
    thread.join()
    [record] = [record for record in caplog.records if record.name == "moe_site"]
    assert record.getMessage() == "a thread ended by an error that nobody caught thread=worker"
    assert record.exc_info[0] is ZeroDivisionError
