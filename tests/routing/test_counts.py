"""Hits are counted once each, whatever becomes of the attempt to write them."""

import time

import pytest

from routing.counts import Counts


class Table:
    """What was written; ``fails`` lets the next write fail, after ``meanwhile`` was called."""

    def __init__(self):
        self.hits, self.writes, self.fails, self.meanwhile = {}, 0, False, None

    def write(self, hits):
        self.writes += 1
        if self.meanwhile:
            self.meanwhile()
        if self.fails:
            raise OSError("gone")
        for thing, (count, at) in hits.items():
            self.hits[thing] = (self.hits.get(thing, (0, 0))[0] + count, at)


@pytest.fixture
def table():
    return Table()


def test_each_is_written_once_with_the_time_of_its_last(table):
    counts, before = Counts(), time.time()
    counts.add(["a", "b"])
    counts.add(["a"])
    assert len(counts) == 2
    counts.write(table.write)
    assert {thing: count for thing, (count, _) in table.hits.items()} == {"a": 2, "b": 1}
    assert all(before <= at <= time.time() for _, at in table.hits.values())
    assert len(counts) == 0


def test_nothing_is_written_where_nothing_was_hit(table):
    counts = Counts()
    counts.write(table.write)
    assert table.writes == 0


def test_what_could_not_be_written_is_added_to_what_came_meanwhile(table):
    counts = Counts()
    counts.add(["a", "b"])
    table.fails, table.meanwhile = True, lambda: counts.add(["b", "c"])
    with pytest.raises(OSError, match="gone"):
        counts.write(table.write)
    assert len(counts) == 3
    table.fails, table.meanwhile, between = False, None, time.time()
    counts.add(["a"])
    counts.write(table.write)
    assert {thing: count for thing, (count, _) in table.hits.items()} == {"a": 2, "b": 2, "c": 1}
    assert table.hits["a"][1] >= between >= table.hits["b"][1]


def test_where_it_is_full_those_that_wait_are_counted_on(table):
    counts = Counts(capacity=2)
    counts.add(["a", "b", "c"])
    counts.add(["b", "c"])
    counts.write(table.write)
    assert {thing: count for thing, (count, _) in table.hits.items()} == {"a": 1, "b": 2}
