"""Parser children and who may use them: one document at a time each, replaced when one goes wrong."""

import atexit
import contextlib
import logging
import os
import queue
import selectors
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from knowledge.blocks import Parsed
from knowledge.parsing import wire
from knowledge.parsing.failure import ParseFailed

logger = logging.getLogger("knowledge")

GIB = 1024**3
# A child is replaced after so many documents: libraries leak, and what a document spoiled ends with the child.
MOST_DOCUMENTS = 200
PIECE = 256 * 1024
CHILD = "knowledge.parsing.child"
BASE = Path(__file__).resolve().parents[2]
OCR_SECONDS, OCR_MEMORY = 1800.0, 12 * GIB  # models of gigabytes, and about a page a second


class Parsers:
    """Parses documents in ``processes`` children, each under limits: ``seconds`` a document, ``memory`` in bytes.

    A child starts with the first document and stays. Threads may share one Parsers; more than ``processes`` wait for
    each other. Children end with this process, however it ends.
    """

    def __init__(self, processes: int = 1, seconds: float = 60.0, memory: int = 2 * GIB, *, ocr: bool = False) -> None:
        self._seconds = seconds
        self._memory = memory
        self._ocr = ocr
        self._places: queue.LifoQueue[_Child | None] = queue.LifoQueue()  # a child lately used is warm
        for _ in range(processes):
            self._places.put(None)
        self._lock = threading.Lock()
        self._children: set[_Child] = set()
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def parse(self, data: bytes, *, name: str, mime: str = "") -> Parsed:
        """Return ``data`` as blocks; blocks the thread meanwhile. Raises ParseFailed."""
        child = self._places.get()
        kept = None
        try:
            child = self._ready(child)
            result, memory = child.ask(data, name=name, mime=mime, seconds=self._seconds)
            if not _is_spoiled(result) and memory < self._memory / 2 and child.documents < MOST_DOCUMENTS:
                kept = child
        except TimeoutError as error:
            raise self._timed_out() from error
        except (EOFError, ValueError) as error:
            raise self._lost(child) from error
        finally:
            if kept is None and child is not None:
                self._end(child)
            self._places.put(kept)
        if isinstance(result, ParseFailed):
            logger.info("parse_failed code=%s detail=%s", result.code, result.detail)
            raise result
        return result

    def close(self) -> None:
        """End the children; documents that are being parsed fail with the code "closed"."""
        with self._lock:
            self._closed = True
            for child in self._children:
                child.kill()
        # Those that waited are ended here, those that worked by whoever waits for them.
        waiting = []
        with contextlib.suppress(queue.Empty):
            while True:
                waiting.append(self._places.get_nowait())
        for idle in waiting:
            if idle is not None:
                self._end(idle)
            self._places.put(None)

    def _ready(self, child: "_Child | None") -> "_Child":
        if child is not None and child.is_alive():
            return child
        if child is not None:
            self._end(child)
        with self._lock:
            if self._closed:
                raise _closed()
            child = _Child(memory=self._memory, seconds=self._seconds, ocr=self._ocr)
            self._children.add(child)
        return child

    def _end(self, child: "_Child") -> None:
        with self._lock:
            self._children.discard(child)
        child.end()

    def _timed_out(self) -> ParseFailed:
        logger.warning("parser_timed_out seconds=%g", self._seconds)
        return ParseFailed(
            "timed_out",
            f"The document could not be read within {self._seconds:g} seconds. Split it into smaller files, or save it "
            "in a simpler format.",
        )

    def _lost(self, child: "_Child | None") -> ParseFailed:
        """Return why ``child`` gave no answer, or none that makes sense."""
        if self._closed:
            return _closed()
        status = child.end() if child is not None else 0
        if status == -signal.SIGXCPU:
            return self._timed_out()
        logger.warning("parser_crashed status=%s", status)
        return ParseFailed(
            "crashed",
            "The document made its parser crash, or needs far more memory than it may have "
            f"({self._memory / GIB:.3g} GiB). Save it anew, or as PDF, and upload it again.",
            detail=f"status {status}",
        )


def _is_spoiled(result: Parsed | ParseFailed) -> bool:
    return isinstance(result, ParseFailed) and result.code == "out_of_memory"


def _closed() -> ParseFailed:
    return ParseFailed("closed", "The server is stopping. Upload the document again when it is back.")


class _Child:
    """A running parser; whoever started it ends it."""

    def __init__(self, *, memory: int, seconds: float, ocr: bool) -> None:
        self.documents = 0
        arguments = [str(memory), str(seconds), "on" if ocr else "off"]
        self._process = subprocess.Popen(
            [sys.executable, "-m", CHILD, *arguments],
            cwd=BASE,
            env={"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C.UTF-8", "TZ": "UTC"},  # and no secrets
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )
        assert self._process.stdin
        assert self._process.stdout
        self._in, self._out = self._process.stdin, self._process.stdout
        os.set_blocking(self._in.fileno(), False)

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def ask(self, data: bytes, *, name: str, mime: str, seconds: float) -> tuple[Parsed | ParseFailed, int]:
        """Have ``data`` parsed; return the result and the bytes of memory the child holds after it.

        Raises TimeoutError after ``seconds``, EOFError if the child ends, ValueError if it answers nonsense.
        """
        self.documents += 1
        pending = [memoryview(wire.request_head(data, name=name, mime=mime)), memoryview(data)]
        return wire.read_answer(self._exchange(pending, time.monotonic() + seconds))

    def _exchange(self, pending: list[memoryview], deadline: float) -> bytes:
        """Send and receive at once: a child that answers before it read everything must not wait for ever."""
        received = bytearray()
        with selectors.DefaultSelector() as ready:
            ready.register(self._out, selectors.EVENT_READ)
            ready.register(self._in, selectors.EVENT_WRITE)
            while not _is_whole(received):
                left = deadline - time.monotonic()
                if left <= 0:
                    raise TimeoutError
                for key, _ in ready.select(left):
                    if key.fileobj is self._out:
                        self._receive(received)
                    elif not self._send(pending):
                        ready.unregister(self._in)
        return bytes(received[wire.ANSWER.size :])

    def _send(self, pending: list[memoryview]) -> bool:
        """Send a piece; tell whether there is more."""
        while pending and not pending[0]:
            del pending[0]
        if not pending:
            return False
        try:
            sent = os.write(self._in.fileno(), pending[0][:PIECE])
        except BlockingIOError:
            return True
        except BrokenPipeError:
            return False  # it ended, and so will its output
        pending[0] = pending[0][sent:]
        return True

    def _receive(self, received: bytearray) -> None:
        piece = os.read(self._out.fileno(), PIECE)
        if not piece:
            raise EOFError
        received += piece

    def kill(self) -> None:
        """Have it end, whatever it does; whoever started or asked it still ends it."""
        self._process.kill()

    def end(self) -> int:
        """End it, if it still runs, and return its status."""
        self.kill()
        status = self._process.wait()
        self._in.close()
        self._out.close()
        return status


def _is_whole(received: bytearray) -> bool:
    """Tell whether an answer is complete; raises ValueError for one that is too long or goes on after its end."""
    if len(received) < wire.ANSWER.size:
        return False
    (size,) = wire.ANSWER.unpack_from(received)
    if size > wire.LARGEST_ANSWER or len(received) > size + wire.ANSWER.size:
        raise ValueError("the parser's answer has no end")
    return len(received) == int(size) + wire.ANSWER.size


# --- of this process -----------------------------------------------------------------------------------------

_shared: Parsers | None = None
_sharing = threading.Lock()


PROCESSES = 2
"""Children of the shared set: a document that takes its whole minute must not hold up every other one."""


def shared_parsers() -> Parsers:
    """Return the parsers of this process, made when first asked for."""
    global _shared
    with _sharing:
        if _shared is None:
            from django.conf import settings

            ocr = settings.KNOWLEDGE_OCR
            _shared = Parsers(seconds=OCR_SECONDS, memory=OCR_MEMORY, ocr=True) if ocr else Parsers(processes=PROCESSES)
            atexit.register(_shared.close)
        return _shared
