"""Work that follows changes of rows."""

import asyncio
import contextlib

import pytest

from routing import upkeep
from routing.upkeep import keep_up, run_command


class Rows:
    """What a live snapshot tells; ``wanted`` is the work there is."""

    name = "rows"

    def __init__(self, wanted=""):
        self.wanted = wanted
        self.failing = 0

    async def areload(self):
        if self.failing:
            self.failing -= 1
            raise OSError("the database is away")
        return self.wanted

    async def aget(self):
        return self.wanted


@pytest.fixture
async def kept():
    """Return what starts keeping up, with ``work`` as a function without arguments; it ends with the test."""
    tasks = []

    def start(rows, work, quiet=0.0):
        async def done():
            work()

        tasks.append(asyncio.create_task(keep_up(rows, done, quiet=quiet)))

    yield start
    for task in tasks:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def eventually(condition, seconds=30.0):
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_work_is_done_once_it_is_there(kept):
    rows, done = Rows(), []

    def work():
        done.append(rows.wanted)
        rows.wanted = ""

    kept(rows, work)
    await asyncio.sleep(0.05)
    assert done == []
    rows.wanted = "first"
    await eventually(lambda: done == ["first"])
    rows.wanted = "second"
    await eventually(lambda: done == ["first", "second"])


async def test_what_came_to_nothing_is_left_alone_until_something_changes(kept):
    rows, done = Rows("stuck"), []
    kept(rows, lambda: done.append(rows.wanted))
    await eventually(lambda: done == ["stuck"])
    await asyncio.sleep(0.1)
    assert done == ["stuck"]
    rows.wanted = "other"
    await eventually(lambda: done == ["stuck", "other"])


async def test_it_waits_until_nothing_changes_any_more(kept):
    rows, done = Rows("one"), []
    kept(rows, lambda: done.append(rows.wanted), quiet=0.1)
    await asyncio.sleep(0.05)
    rows.wanted = "two"
    await eventually(lambda: bool(done))
    assert done == ["two"]


async def test_it_goes_on_after_an_outage(kept, monkeypatch):
    monkeypatch.setattr(upkeep, "FAILED_SECONDS", 0.01)
    rows, done = Rows("one"), []
    rows.failing = 2
    kept(rows, lambda: done.append(rows.wanted))
    await eventually(lambda: done == ["one"])


async def test_a_command_that_fails_says_why():
    with pytest.raises(RuntimeError, match="no_such_command"):
        await run_command("no_such_command")
