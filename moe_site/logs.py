"""Log lines: what they look like, what they know of the request they belong to, and what never gets into one.

A line has an event and fields. Fields come from ``extra`` and from the message itself, where a module writes
``logger.warning("replica failed replica=%s", label)``; so both kinds of calls are as good to search in.
"""

import datetime as dt
import json
import logging
import re
import sys
import threading
import traceback
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import orjson

from routing import tracing
from routing.current import current

FORMATS = ("line", "json")
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
ROOMS = ("moe_site", "gateway", "routing", "knowledge")
LONGEST_TRACEBACK = 16_000
_OF_EVERY_RECORD = frozenset({*logging.makeLogRecord({}).__dict__, "message", "asctime", "taskName"})
# What of a conversion's kind can stand in a message: %s, %-5d, %.1f; %% is none.
_CONVERSION = re.compile(r"(?:(?<![\w.])(?P<name>[a-z_][a-z0-9_]*)=)?%(?:%|[-+ #0]*\d*(?:\.\d+)?[sdfrgixX])")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]")


# --- secrets ----------------------------------------------------------------------------------------------------

HIDDEN = "[hidden]"
_SECRETS: tuple[tuple[re.Pattern[str], str], ...] = (
    # One of our keys keeps the beginning it is known by; other services' keys keep nothing.
    (re.compile(r"\b(sk-moe-[A-Za-z0-9_-]{6})[A-Za-z0-9_-]{4,}"), rf"\1{HIDDEN}"),
    (re.compile(r"\bsk-(?!moe-)[A-Za-z0-9_-]{16,}"), f"sk-{HIDDEN}"),
    (re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}"), rf"\1 {HIDDEN}"),
    # What advice shows as an example is none, nor is the value of a switch such as REQUIRE_API_KEY.
    (re.compile(r"(://[^\s/:@\"']*):(?!password@)[^\s/\"']+@"), rf"\1:{HIDDEN}@"),
    (re.compile(r"(/sources/)[^\s/?\"']{8,}"), rf"\1{HIDDEN}"),
    (
        re.compile(
            r"(?i)(?<![A-Za-z0-9])(authorization|cookie|session_?id|csrf_?token|password|passwd|pwd|secret(?:_key)?|"
            r"(?:api|access|auth|refresh)[_-]?(?:key|token)|token|signature|sig)"
            r"([\"']?\s*[=:]\s*[\"']?)(?!\[hidden\]|(?:true|false)[.:]?(?:[\s\"',;&)}]|\Z))[^\s\"',;&)}]{4,}"
        ),
        rf"\1\2{HIDDEN}",
    ),
)
# Without one of these none of the patterns fits: most lines need no closer look. Of a key it takes more than the
# beginning that it is known by, which stands in every line of a request.
_KEY = re.compile(r"sk-[A-Za-z0-9_-]{14}")
_SIGNS = (  # in small letters
    *("bearer", "basic", "://", "/sources/", "authorization", "cookie", "session", "csrf", "passw", "pwd"),
    *("secret", "api_key", "api-key", "apikey", "access_key", "access-key", "accesskey", "auth_key", "auth-key"),
    *("authkey", "refresh", "token=", "token:", "token ", "token\t", "token\n", 'token"', "token'", "signature", "sig"),
)


def may_hold_secrets(text: str) -> bool:
    small = text.lower()
    return any(sign in small for sign in _SIGNS) or _KEY.search(text) is not None


def redacted(text: str) -> str:
    """Return ``text`` without what lets anybody in: tokens, keys, passwords, and the links to sources."""
    if may_hold_secrets(text):
        for pattern, instead in _SECRETS:
            text = pattern.sub(instead, text)
    return text


def _plain(value: Any) -> Any:
    """Return a field's value as JSON can hold it, without secrets."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {redacted(str(name)): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    return redacted(str(value))


# --- fields -----------------------------------------------------------------------------------------------------


class Context(logging.Filter):
    """Puts on each record the request, and the trace, that it was written for."""

    def filter(self, record: logging.LogRecord) -> bool:
        if (request := current()) is not None and not hasattr(record, "request_id"):
            record.request_id = request.id
        if tracing.is_tracing() and (trace := tracing.serving().trace_id):
            record.trace_id = trace
        return True


class Refusals(logging.Filter):
    """Takes the traceback off what Django says of requests that it refuses: anybody can cause as many as they like."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.startswith("django.security."):
            record.exc_info = None
        return True


@lru_cache(maxsize=1_000)
def _names(template: str) -> tuple[str | None, ...]:
    """Return the name that each conversion of a message has, as in ``error=%s``; None for one that has none."""
    return tuple(found["name"] for found in _CONVERSION.finditer(template) if not found[0].endswith("%%"))


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """Return what a record tells beside its message: what it was given as ``extra``, and what its message names."""
    fields = {name: value for name, value in record.__dict__.items() if name not in _OF_EVERY_RECORD}
    args = record.args
    if isinstance(args, tuple) and args and isinstance(record.msg, str):
        names = _names(record.msg)
        if len(names) == len(args):
            named = {name: value for name, value in zip(names, args, strict=True) if name}
            fields = named | fields
    return fields


# --- lines ------------------------------------------------------------------------------------------------------


class JsonFormatter(logging.Formatter):
    """One JSON object a line, whatever the record holds."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": dt.datetime.fromtimestamp(record.created, dt.UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: value for name, value in fields_of(record).items() if name not in line}
        if record.exc_info and (error := record.exc_info[1]) is not None:
            line |= {"exception": type(error).__name__, "traceback": _traceback(error)}
        if record.stack_info:
            line["stack"] = record.stack_info
        text = _dumped(line)
        return _dumped(_plain(line)) if may_hold_secrets(text) else text


def _dumped(line: dict[str, Any]) -> str:
    try:
        return orjson.dumps(line, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
    except (TypeError, ValueError):  # halves of surrogate pairs, numbers of more than 64 bits
        return json.dumps(_plain(line))


class LineFormatter(logging.Formatter):
    """Time, level, logger, message and fields, for people; only a traceback takes more lines than one."""

    default_msec_format = "%s,%03d"

    def format(self, record: logging.LogRecord) -> str:
        message, fields = record.getMessage(), fields_of(record)
        told = "".join([f" {name}={value}" for name, value in fields.items() if f"{name}=" not in message])
        line = f"{self.formatTime(record)} {record.levelname} {record.name} {message}{told}"
        line = _CONTROL.sub(_escaped, redacted(line))
        if record.exc_info and (error := record.exc_info[1]) is not None:
            line = f"{line}\n{_traceback(error)}"
        return f"{line}\n{redacted(record.stack_info)}" if record.stack_info else line


def _escaped(found: "re.Match[str]") -> str:
    # What a client sends must not look like a line of ours.
    return found[0].encode("unicode_escape").decode()


def _traceback(error: BaseException) -> str:
    return redacted("".join(traceback.format_exception(error)).rstrip())[-LONGEST_TRACEBACK:]


# --- configuration ----------------------------------------------------------------------------------------------


def configuration(*, level: str, form: str) -> dict[str, Any]:
    """Return Django's LOGGING. Libraries never say less than warnings: at DEBUG some tell whole requests."""
    libraries = level if LEVELS.index(level) > LEVELS.index("WARNING") else "WARNING"
    # A refused request has its line already; Django's own would be a second one.
    quiet = "ERROR" if libraries == "WARNING" else libraries
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {"context": {"()": "moe_site.logs.Context"}, "refusals": {"()": "moe_site.logs.Refusals"}},
        "formatters": {
            "line": {"()": "moe_site.logs.LineFormatter"},
            "json": {"()": "moe_site.logs.JsonFormatter"},
        },
        "handlers": {
            "stderr": {"class": "logging.StreamHandler", "formatter": form, "filters": ["context", "refusals"]},
        },
        "root": {"handlers": ["stderr"], "level": libraries},
        "loggers": {
            **{name: {"level": level, "propagate": True} for name in ROOMS},
            "django": {"handlers": [], "level": libraries, "propagate": True},
            "django.request": {"level": quiet, "propagate": True},
        },
    }


def catch_strays() -> None:
    """Make lines like others of what would go to standard error as it is: warnings, and errors that nobody caught."""
    logging.captureWarnings(True)
    logger = logging.getLogger("moe_site")

    def uncaught(kind: type[BaseException], error: BaseException, trace: Any) -> None:
        if issubclass(kind, KeyboardInterrupt):
            sys.__excepthook__(kind, error, trace)
        else:
            logger.critical("the process ends by an error that nobody caught", exc_info=(kind, error, trace))

    def uncaught_in_thread(told: threading.ExceptHookArgs) -> None:
        if told.exc_value is not None and not isinstance(told.exc_value, SystemExit):
            name = told.thread.name if told.thread else "unknown"
            logger.error("a thread ended by an error that nobody caught thread=%s", name, exc_info=told.exc_value)

    sys.excepthook = uncaught
    threading.excepthook = uncaught_in_thread
