"""A parser child whose plain texts are orders: ``python -m tests.knowledge.parsing.misbehaving``.

All but what becomes of a plain text is the real child's.
"""

import os
import re
import signal
import time
from pathlib import Path

from knowledge.parsing import child, reading
from knowledge.parsing.draft import Draft
from knowledge.parsing.kinds import Kind
from knowledge.parsing.source import Source


def obey(source: Source, draft: Draft) -> None:
    order, _, argument = source.data.decode().partition(" ")
    ORDERS[order](argument)
    draft.text(" ".join(os.environ) if order == "environment" else f"{order} {os.getpid()}")


def loop(_: str) -> None:
    while True:
        pass


def loop_in_c(_: str) -> None:
    re.match(r"(a+)+$", "a" * 60 + "b")  # holds the interpreter all the while


def take_memory(_: str) -> None:
    pieces = []
    while True:
        pieces.append(bytes(16 * 1024 * 1024))


def die(number: str) -> None:
    os.kill(os.getpid(), int(number))
    time.sleep(10)


def chatter(_: str) -> None:
    print("words", flush=True)
    os.write(1, b"\0" * 100)


def babble(_: str) -> None:
    for number in range(3, 12):  # wherever answers go
        try:
            os.write(number, b"\0\0\0\0\0\0\0\x05hello")
        except OSError:
            continue


def write_file(path: str) -> None:
    with Path(path).open("wb") as file:
        file.write(b"x")


ORDERS = {
    "loop": loop,
    "loop_in_c": loop_in_c,
    "take_memory": take_memory,
    "die": die,
    "exit": lambda number: os._exit(int(number)),
    "chatter": chatter,
    "babble": babble,
    "write": write_file,
    "sleep": lambda seconds: time.sleep(float(seconds)),
    "tell": lambda _: None,
    "environment": lambda _: None,
}

if __name__ == "__main__":
    reading.READERS[Kind.PLAIN] = obey
    child.GRACE = 0
    signal.alarm(60)  # whatever a test does wrong
    child.main()
