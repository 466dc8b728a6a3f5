"""A process that parses documents, one after the other, under limits.

Run as ``python -m knowledge.parsing.child MEMORY SECONDS OCR`` by pool.py; documents come by standard input, answers
go by standard output. It holds nothing worth having: no settings, no secrets in its environment, and files it cannot
write.
"""

import contextlib
import fcntl
import math
import os
import resource
import select
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from knowledge.blocks import Parsed
from knowledge.parsing import wire
from knowledge.parsing.failure import ParseFailed, out_of_memory
from knowledge.parsing.reading import parse

NICENESS = 10  # requests to the gateway come first
MOST_FILES = 64
GRACE = 5  # seconds of computing after which it ends itself, should its parent not have done so


def main() -> None:
    memory, seconds, ocr = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3] == "on"
    documents, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    # What libraries print must not get between answers, nor a document's text into a log.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    # A signal to all processes of the service is the parent's to act on: a document it waits for is no failure.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _limit(memory, writes=ocr)
    while (header := documents.read(wire.REQUEST.size)) and len(header) == wire.REQUEST.size:
        answers.write(_answer(documents, header, seconds=seconds, ocr=ocr))
        answers.flush()


def _answer(documents: BinaryIO, header: bytes, *, seconds: float, ocr: bool) -> bytes:
    try:
        asked = wire.read_request(header, documents)
        with _leaving_with_parent(documents.fileno()), _limited_computing(seconds):
            return wire.answer(_parsed(asked, ocr=ocr), memory=_memory("resident"))
    except MemoryError:
        return wire.answer(out_of_memory(), memory=_memory("resident"))


def _parsed(asked: wire.Request, *, ocr: bool) -> Parsed | ParseFailed:
    try:
        return parse(asked.data, name=asked.name, mime=asked.mime, ocr=ocr)
    except ParseFailed as failure:
        return failure


def _limit(memory: int, *, writes: bool) -> None:
    """Give up rights: ``memory`` bytes more than there are already, no files (but what OCR keeps of its models)."""
    os.nice(NICENESS)
    sys.dont_write_bytecode = True
    limits = {resource.RLIMIT_AS: _memory("mapped") + memory, resource.RLIMIT_CORE: 0}
    if not writes:
        limits |= {resource.RLIMIT_FSIZE: 0, resource.RLIMIT_NOFILE: MOST_FILES}
    for kind, value in limits.items():
        # Some systems do not know a limit, or have a lower one already.
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(kind, (value, value))


@contextlib.contextmanager
def _leaving_with_parent(documents: int) -> Iterator[None]:
    """Be ended by the kernel (SIGIO) when the parent is gone and its end of the pipe closes, whatever runs here.

    Between documents the pipe is read, and its end noticed; in the middle of one, a library may hold the interpreter
    for as long as it likes. Nothing else arrives meanwhile: the parent waits for the answer.
    """
    flags = fcntl.fcntl(documents, fcntl.F_GETFL)
    fcntl.fcntl(documents, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(documents, fcntl.F_SETFL, flags | os.O_ASYNC)
    poll = select.poll()
    poll.register(documents, select.POLLIN)
    if any(event & select.POLLHUP for _, event in poll.poll(0)):
        raise SystemExit  # it went before the kernel was asked to tell
    try:
        yield
    finally:
        fcntl.fcntl(documents, fcntl.F_SETFL, flags)


@contextlib.contextmanager
def _limited_computing(seconds: float) -> Iterator[None]:
    """Be ended by the kernel (SIGXCPU) after computing for longer than the parent waits."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    until = math.ceil(used.ru_utime + used.ru_stime + seconds) + GRACE
    resource.setrlimit(resource.RLIMIT_CPU, (until if hard == resource.RLIM_INFINITY else min(until, hard), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_CPU, (hard, hard))


def _memory(kind: str) -> int:
    """Return the bytes of memory this process holds ("resident") or has addresses for ("mapped"); 0 if unknown."""
    try:
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()
    except OSError:
        return 0
    return int(pages[1 if kind == "resident" else 0]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    main()
