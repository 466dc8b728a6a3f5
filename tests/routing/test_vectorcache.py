"""Vectors of texts that were embedded before: where they are found, and where nobody waits for them."""

import asyncio
import struct
import threading
import time
from datetime import timedelta

import pytest
from channels.db import database_sync_to_async
from django.db import OperationalError
from django.utils import timezone

from routing import vectorcache
from routing.models import CachedVector
from routing.vectorcache import VectorCache, vectors_sweep

NAME = "some-model"
ONE, TWO = [0.25, -1.5, 3.0], [1.0, 0.0, -0.125]


def in_thread(work, *arguments, **options):
    return database_sync_to_async(work, thread_sensitive=False)(*arguments, **options)


def found(cache, *texts, model=NAME):
    return asyncio.run(cache.find(model, texts))


class TestMemory:
    def test_gives_back_what_was_put_in(self):
        cache = VectorCache()
        assert cache.get(NAME, "one") is None
        cache.set(NAME, "one", ONE, stored=False)
        assert cache.get(NAME, "one") == ONE
        assert cache.get("another", "one") is None
        assert (cache.hits, cache.misses, len(cache)) == (1, 2, 0)

    def test_takes_any_text(self):
        cache = VectorCache()
        for text in ("", "half of a pair \ud83d", "nothing \0 at all"):
            cache.set(NAME, text, ONE, stored=True)
            assert cache.get(NAME, text) == ONE

    def test_forgets_what_was_used_longest_ago(self, monkeypatch):
        monkeypatch.setattr(vectorcache, "REMEMBERED", 2)
        cache = VectorCache()
        cache.set(NAME, "one", ONE, stored=False)
        cache.set(NAME, "two", TWO, stored=False)
        assert cache.get(NAME, "one")
        cache.set(NAME, "three", TWO, stored=False)
        assert [cache.get(NAME, text) is not None for text in ("one", "two", "three")] == [True, False, True]

    def test_nothing_is_kept_where_it_is_turned_off(self, settings):
        settings.EMBEDDING_CACHE_ENTRIES = 0
        cache = VectorCache()
        cache.set(NAME, "one", ONE, stored=True)
        assert (cache.get(NAME, "one"), found(cache, "one"), len(cache)) == (None, {}, 0)

    def test_what_waits_for_the_database_is_bounded(self, monkeypatch):
        monkeypatch.setattr(vectorcache, "WAITING", 2)
        cache = VectorCache()
        for number in range(5):
            cache.set(NAME, f"{number}", ONE, stored=True)
        assert (len(cache), cache.dropped) == (2, 3)


@pytest.mark.django_db(transaction=True)
class TestTheTable:
    async def test_another_process_finds_what_was_written(self):
        cache = VectorCache()
        cache.set(NAME, "one", ONE, stored=True)
        cache.set(NAME, "two", TWO, stored=True)
        cache.set(NAME, "mine", TWO, stored=False)
        assert await in_thread(cache.flush) == 2
        other = VectorCache()
        assert await other.find(NAME, ["one", "three", "two", "mine"]) == {"one": ONE, "two": TWO}
        assert (other.hits, other.misses) == (2, 2)
        assert other.get(NAME, "one") == ONE

    async def test_holds_no_text_and_floats_of_32_bits(self):
        cache = VectorCache()
        cache.set(NAME, "a secret", ONE, stored=True)
        await in_thread(cache.flush)
        (row,) = await in_thread(lambda: list(CachedVector.objects.values("model", "digest", "vector")))
        assert struct.unpack("<3f", bytes(row["vector"])) == tuple(ONE)
        assert len(bytes(row["digest"])) == 32
        assert b"secret" not in bytes(row["digest"]) + bytes(row["vector"])

    async def test_two_processes_may_write_the_same(self):
        for vector in (ONE, TWO):
            cache = VectorCache()
            cache.set(NAME, "one", vector, stored=True)
            await in_thread(cache.flush)
        assert await VectorCache().find(NAME, ["one"]) == {"one": TWO}

    async def test_away_it_is_left_alone_and_nobody_waits(self, monkeypatch):
        calls, gate = [], threading.Event()

        def hanging(*_):
            calls.append(1)
            gate.wait(30)

        monkeypatch.setattr(vectorcache, "_look", hanging)
        monkeypatch.setattr(vectorcache, "LOOKUP_SECONDS", 0.05)
        cache = VectorCache()
        started = time.monotonic()
        for _ in range(5):
            assert await cache.find(NAME, ["one"]) == {}
        gate.set()
        assert (len(calls), time.monotonic() - started < 10) == (1, True)

    async def test_an_error_of_it_is_none_of_whoever_asks(self, monkeypatch):
        def gone(*_):
            raise OperationalError("gone")

        monkeypatch.setattr(vectorcache, "_look", gone)
        cache = VectorCache()
        cache.set(NAME, "one", ONE, stored=True)
        assert await cache.find(NAME, ["one", "two"]) == {"one": ONE}

    async def test_those_unused_longest_go_first(self, settings, monkeypatch):
        settings.EMBEDDING_CACHE_ENTRIES = 2
        cache = VectorCache()
        monkeypatch.setattr(vectorcache, "vectors", cache)
        for age, text in enumerate(("new", "old", "older", "oldest")):
            cache.set(NAME, text, ONE, stored=True)
            await in_thread(cache.flush)
            await in_thread(
                CachedVector.objects.filter(used_at__gt=timezone.now() - timedelta(minutes=1)).update,
                used_at=timezone.now() - timedelta(days=age + 1),
            )
        assert await VectorCache().find(NAME, ["oldest"])
        reader = VectorCache()
        monkeypatch.setattr(vectorcache, "vectors", reader)
        assert await reader.find(NAME, ["oldest"])  # used, so that it is the newest now
        assert await in_thread(vectors_sweep) == 2
        left = await VectorCache().find(NAME, ["new", "old", "older", "oldest"])
        assert left.keys() == {"new", "oldest"}

    async def test_those_unused_for_a_month_go(self):
        cache = VectorCache()
        cache.set(NAME, "one", ONE, stored=True)
        await in_thread(cache.flush)
        await in_thread(CachedVector.objects.update, used_at=timezone.now() - timedelta(days=31))
        assert await in_thread(vectors_sweep) == 1
