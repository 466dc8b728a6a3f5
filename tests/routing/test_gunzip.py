"""Unpacking gzip that a stranger packed."""

import gzip
import time
import tracemalloc

import pytest

from routing.backends.gunzip import Damaged, TooMuch, gunzip

NOISE = bytes(number * number % 251 for number in range(300_000))


@pytest.mark.parametrize("content", [b"", b"x", NOISE])
def test_what_was_packed_comes_out(content):
    assert gunzip(gzip.compress(content), most=len(NOISE)) == content


def test_files_that_follow_each_other_are_one():
    assert gunzip(gzip.compress(b"one ") + gzip.compress(NOISE) + gzip.compress(b"two"), most=400_000) == (
        b"one " + NOISE + b"two"
    )


def test_the_limit_holds_for_all_of_them_together():
    packed = gzip.compress(b"x" * 60) * 2
    assert gunzip(packed, most=120) == b"x" * 120
    with pytest.raises(TooMuch, match="larger than 119 bytes"):
        gunzip(packed, most=119)


def test_a_bomb_is_never_unpacked():
    bomb = gzip.compress(b"\0" * 100_000_000)
    tracemalloc.start()
    with pytest.raises(TooMuch):
        gunzip(bomb, most=1_000_000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5_000_000


def test_a_chain_of_nothings_costs_no_time():
    chain = gzip.compress(b"") * 200_000
    started = time.process_time()
    with pytest.raises(Damaged, match="more than 1024 parts"):
        gunzip(chain, most=1000)
    assert time.process_time() - started < 2


@pytest.mark.parametrize("content", [b"", b"\x1f\x8b", b"no gzip at all", gzip.compress(NOISE)[:-5], b"\x1f\x8b" * 50])
def test_what_is_no_whole_gzip_is_refused(content):
    with pytest.raises(Damaged):
        gunzip(content, most=400_000)
