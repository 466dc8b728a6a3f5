"""Another embedding model for a collection: filled beside, switched to, taken back, given up."""

import asyncio
import threading
import time

import pytest
from django.db import connection

from knowledge import beside
from knowledge.access import EVERYTHING
from knowledge.collections import collection_delete
from knowledge.embedding import MINILM, MULTILINGUAL
from knowledge.exceptions import CollectionNotFound, EmbeddingFailed
from knowledge.models import (
    Chunk,
    Collection,
    Document,
    DocumentRevision,
    Embedding,
    EmbeddingModel,
    GoldenQuery,
    IngestionJob,
)
from knowledge.passages import SearchRequest
from knowledge.receiving import Incoming, document_receive
from knowledge.search import search
from knowledge.switching import (
    collection_embed_with,
    collection_fill,
    collection_give_up,
    collection_roll_back,
    collection_switch,
    filling_of,
    model_drop,
)
from routing.exceptions import BadRequest
from tests.knowledge.library import Bench, put, shelf, small_model, text_of
from tests.knowledge.test_search import RealBench
from tests.meanwhile import meanwhile

pytestmark = pytest.mark.usefixtures("knowledge")


@pytest.fixture(autouse=True)
def _nothing_is_away():
    yield
    beside._away.clear()


def now(collection):
    return Collection.objects.select_related("embedding_model", "previous_model", "next_model").get(pk=collection.pk)


def models_of(collection):
    row = now(collection)
    return tuple(str(model) if model else "" for model in (row.previous_model, row.embedding_model, row.next_model))


def vectors(model):
    return Embedding.objects.filter(embedding_model=model).count()


def waiting(kind):
    return IngestionJob.objects.unfinished().filter(kind=kind)


def filled(bench, *names, switched=True):
    """Return a collection of two documents that was switched to models ``names`` one after the other."""
    collection = shelf()
    put(collection, text_of("Cats purr."), source="a.md", bench=bench)
    put(collection, text_of("Dogs bark."), source="b.md", bench=bench)
    for name in names:
        bench.run(collection_fill(collection=now(collection), model=small_model(name)))
        if switched:
            collection_switch(collection=now(collection))
    return now(collection)


class TestFilling:
    def test_it_is_searched_as_before_until_it_is_switched(self):
        collection, bench = shelf(), Bench()
        put(collection, text_of("Cats purr."), source="a.md", bench=bench)
        other = small_model("other", dimensions=4)
        job = collection_fill(collection=collection, model=other)
        assert collection_fill(collection=collection, model=other) == job
        assert (filling_of(collection, other).done, filling_of(collection, other).job) == (0, job)
        with pytest.raises(BadRequest, match="1 chunks have no vector by 'other' yet"):
            collection_switch(collection=collection)
        job = bench.run(job)
        assert (job.state, job.kind, job.total) == ("done", "filling", 1)
        assert filling_of(collection, other).is_complete
        assert models_of(collection) == ("", "words", "other")

    def test_what_is_published_meanwhile_gets_both_vectors(self):
        bench = Bench()
        collection = filled(bench, "other", switched=False)
        put(collection, text_of("Cows moo."), source="c.md", bench=bench)
        put(collection, text_of("Cats purr loudly."), source="a.md", bench=bench)
        assert filling_of(collection, small_model("other")).is_complete
        assert vectors(small_model("other")) == vectors(small_model("words")) == 3
        collection_switch(collection=collection)
        assert models_of(collection) == ("words", "other", "")
        put(now(collection), text_of("Hens cluck."), source="d.md", bench=bench)
        assert vectors(small_model("words")) == 4
        assert not waiting("filling").exists()

    def test_a_model_that_is_away_keeps_no_document_from_being_found(self):
        bench = Bench()
        collection = filled(bench, "other", switched=False)

        def embedder(spec):
            found = Bench._embedder(bench, spec)
            bench.embedder.fail = EmbeddingFailed("away") if spec.name == "other" else None
            return found

        bench._embedder = embedder
        document, job = put(collection, text_of("Cows moo."), source="c.md", bench=bench)
        assert (job.state, document.status) == ("done", "ready")
        assert filling_of(collection, small_model("other")).missing == 1
        bench._embedder = lambda spec: Bench._embedder(bench, spec)
        bench.embedder.fail = None
        bench.run(waiting("filling").get())
        assert filling_of(collection, small_model("other")).is_complete

    def test_another_choice_takes_the_place_of_the_first(self):
        bench = Bench()
        collection = filled(bench, "other", switched=False)
        job = collection_fill(collection=collection, model=small_model("third"))
        assert models_of(collection) == ("", "words", "third")
        assert vectors(small_model("other")) == 2
        bench.run(waiting("dropping").get())
        assert vectors(small_model("other")) == 0
        first = collection_fill(collection=collection, model=small_model("fourth"))
        job.refresh_from_db()
        assert (job.state, first.state) == ("cancelled", "queued")

    def test_its_own_model_is_refused(self):
        collection = shelf()
        for act in (collection_fill, collection_embed_with, collection_give_up):
            with pytest.raises(BadRequest, match="is searched by 'words' already"):
                act(collection=collection, model=collection.embedding_model)
        with pytest.raises(BadRequest, match="No other model is filled beside"):
            collection_switch(collection=collection)
        with pytest.raises(BadRequest, match="always searched by this one"):
            collection_roll_back(collection=collection)


class TestSwitching:
    def test_back_and_forth_is_a_moment_and_nothing_is_outdated(self):
        bench = Bench()
        collection = filled(bench, "other")
        assert models_of(collection) == ("words", "other", "")
        own = put(collection, text_of("Cows moo."), source="c.md", bench=bench)[0]
        Document.objects.filter(pk=own.pk).update(chunk_tokens=32, chunk_overlap=0)
        own.refresh_from_db()
        DocumentRevision.objects.filter(document=own).update(recipe=own.recipe)
        bench.embedder.asked.clear()
        for models in (("other", "words", ""), ("words", "other", "")):
            assert collection_roll_back(collection=now(collection)) is None
            assert models_of(collection) == models
            assert not Document.objects.outdated(now(collection)).exists()
        assert not bench.embedder.asked
        assert now(collection).history.count() >= 3

    def test_texts_that_would_be_cut_otherwise_are_outdated_until_it_is_taken_back(self):
        collection, bench = shelf(chunk_tokens=60), Bench()
        put(collection, text_of("one two three four five six seven eight nine ten. " * 5), bench=bench)
        short = EmbeddingModel.objects.create(name="short", source="in_process", dimensions=8, max_tokens=32)
        bench.run(collection_fill(collection=collection, model=short))
        collection_switch(collection=collection)
        assert Document.objects.outdated(now(collection)).count() == 1
        collection_roll_back(collection=collection)
        assert not Document.objects.outdated(now(collection)).exists()

    def test_going_back_where_vectors_are_missing_makes_them_first(self):
        bench = Bench()
        collection = filled(bench, "other")
        Embedding.objects.filter(embedding_model=small_model("words")).first().delete()
        job = collection_roll_back(collection=collection)
        assert models_of(collection) == ("words", "other", "")
        bench.run(job)
        assert models_of(collection) == ("other", "words", "")

    def test_the_model_before_last_is_dropped(self):
        bench = Bench()
        collection = filled(bench, "other", "third")
        assert models_of(collection) == ("other", "third", "")
        bench.run(waiting("dropping").get())
        assert [vectors(small_model(name)) for name in ("words", "other", "third")] == [0, 2, 2]


class TestDropping:
    def test_what_is_kept_again_stays(self):
        bench = Bench()
        collection = filled(bench, "other")
        job = collection_give_up(collection=collection, model=small_model("words"))
        assert models_of(collection) == ("", "other", "")
        collection_fill(collection=collection, model=small_model("words"))
        bench.run(job)
        assert vectors(small_model("words")) == 2

    def test_a_model_goes_with_its_index_and_from_every_collection(self):
        bench = Bench()
        collection, words = filled(bench, "other"), small_model("words")
        put(shelf("second", embedding_model=small_model("other")), text_of("Cows moo."), bench=bench)
        Embedding.objects.create(
            chunk=Chunk.objects.get(collection__slug="second"),
            embedding_model=words,
            collection=Collection.objects.get(slug="second"),
            findable=True,
            vector=[1.0] * 8,
        )
        with connection.cursor() as cursor:
            cursor.execute(
                f"CREATE INDEX {words.index_name} ON knowledge_embedding "
                f"USING hnsw ((vector::halfvec(8)) halfvec_cosine_ops) WHERE embedding_model_id = {words.pk}"
            )
        EmbeddingModel.objects.filter(pk=words.pk).update(indexed=True)
        with pytest.raises(BadRequest, match="Switch to another model first"):
            model_drop(model=small_model("other"))
        jobs = model_drop(model=words)
        assert len(jobs) == 2
        for job in jobs:
            bench.run(job)
        assert (vectors(words), models_of(collection)) == (0, ("", "other", ""))
        words.refresh_from_db()
        assert not words.indexed
        with connection.cursor() as cursor:
            cursor.execute("SELECT to_regclass(%s)", [words.index_name])
            assert cursor.fetchone() == (None,)


# --- the acceptance -----------------------------------------------------------------------------------------------

SUBJECTS = ("otter", "heron", "engine", "violin", "glacier", "harvest", "lantern", "compass", "marble", "thunder")


class Asker(threading.Thread):
    """Asks questions without a pause until it is told to stop, and notes what went wrong and how long each took."""

    def __init__(self, questions, **wishes):
        super().__init__()
        self.questions, self.wishes = questions, wishes
        self.stop = threading.Event()
        self.failed, self.empty, self.times = [], 0, []

    def run(self):
        asyncio.run(self._ask())

    async def _ask(self):
        number = 0
        while not self.stop.is_set():
            query = self.questions[number % len(self.questions)]
            number += 1
            began = time.perf_counter()
            try:
                found = await search(SearchRequest(query=query, collections=("big",), **self.wishes), access=EVERYTHING)
            except Exception as error:
                self.failed.append(repr(error))
                continue
            self.times.append(time.perf_counter() - began)
            if not found.passages or found.notes:
                self.empty += 1


def statements(documents, each):
    """Yield documents of ``each`` short sections, no two of which say the same."""
    for number in range(documents):
        parts = []
        for part in range(each):
            one, two = SUBJECTS[(number + part) % 10], SUBJECTS[(number * 3 + part * 7) % 10]
            parts += [f"## Note {number}-{part}", f"The {one} number {number * each + part} was seen beside the {two}."]
        yield f"{number}.md", text_of(*parts, title=f"Report {number}")


def put_many(collection, documents, bench):
    """Have many documents read in one event loop."""
    jobs = [
        document_receive(collection=collection, incoming=Incoming(source=source, name=source, data=data), hold=600).job
        for source, data in documents
    ]

    async def main():
        from knowledge.ingest import ingest

        equipment = bench.equipment()
        waiting = iter(jobs)

        async def work():
            for job in waiting:
                await ingest(job.pk, equipment=equipment)

        await asyncio.gather(*(work() for _ in range(3)))

    asyncio.run(main())


def switched_under_load(documents, each, *, askers):
    """Switch a collection to another model and back while it is searched; return figures."""
    minilm, multilingual = (EmbeddingModel.objects.get(name=name) for name in (MINILM, MULTILINGUAL))
    collection, bench = shelf("big", embedding_model=minilm, chunk_tokens=60), RealBench()
    put_many(collection, statements(documents, each), bench)
    golden = GoldenQuery.objects.create(collection=collection, query="Where was the glacier seen?")
    golden.documents.add(collection.documents.first())
    questions = [f"Which {one} was seen beside the {two}?" for one in SUBJECTS for two in SUBJECTS]
    threads = [Asker(questions) for _ in range(askers)]
    for thread in threads:
        thread.start()
    times = {}
    try:
        began = time.perf_counter()
        bench.run(collection_fill(collection=now(collection), model=multilingual))
        times["fill"] = time.perf_counter() - began
        put(now(collection), text_of("The walrus came meanwhile.", title="Late"), source="late.md", bench=bench)
        for name, act in (("switch", collection_switch), ("back", collection_roll_back)):
            began = time.perf_counter()
            act(collection=now(collection))
            times[name] = time.perf_counter() - began
            time.sleep(0.5)
    finally:
        for thread in threads:
            thread.stop.set()
        for thread in threads:
            thread.join()
    assert [failure for thread in threads for failure in thread.failed] == []
    assert sum(thread.empty for thread in threads) == 0
    assert models_of(collection) == (MULTILINGUAL, MINILM, "")
    asked = sorted(one for thread in threads for one in thread.times)
    return times | {
        "chunks": Chunk.objects.live().count(),
        "searches": len(asked),
        "p50": asked[len(asked) // 2],
        "p99": asked[int(len(asked) * 0.99)],
        "most": asked[-1],
    }


def somebody(act, collection):
    """Have somebody else do something to ``collection`` at the same time."""
    return meanwhile(lambda: act(collection=now(collection)))


class TestTwoAtOnce:
    """PostgreSQL leaves out a row that changed while its lock was waited for, where it is read with others."""

    @pytest.fixture
    def beside(self):
        """A collection beside whose model another one is filled."""
        return filled(Bench(), "second", switched=False)

    def test_who_switches_as_somebody_else_does_is_told_that_nothing_is_left_to_switch_to(self, beside):
        with somebody(collection_switch, beside), pytest.raises(BadRequest, match="No other model is filled beside"):
            collection_switch(collection=beside)
        assert models_of(beside) == ("words", "second", "")

    def test_who_takes_another_model_as_somebody_switches_gets_it(self, beside):
        with somebody(collection_switch, beside):
            collection_fill(collection=beside, model=small_model("third"))
        assert models_of(beside) == ("words", "second", "third")

    def test_what_is_filled_is_filled_though_somebody_switches_to_it_meanwhile(self, beside):
        job = collection_fill(collection=beside, model=small_model("second"))
        with somebody(collection_switch, beside):
            Bench().run(job)
        job.refresh_from_db()
        assert (job.state, job.error) == ("done", "")

    def test_who_goes_back_as_somebody_else_does_takes_nothing_away(self):
        collection = filled(Bench(), "second")
        with (
            somebody(collection_roll_back, collection),
            pytest.raises(BadRequest, match="searched by 'words' already"),
        ):
            collection_roll_back(collection=collection)
        assert models_of(collection) == ("second", "words", "")
        assert not waiting("dropping").exists()

    def test_a_model_that_is_switched_to_meanwhile_is_not_given_up(self, beside):
        with somebody(collection_switch, beside), pytest.raises(BadRequest, match="searched by 'second' already"):
            collection_give_up(collection=beside, model=small_model("second"))
        assert models_of(beside) == ("words", "second", "")

    def test_a_collection_that_was_deleted_meanwhile_is_told(self, beside):
        collection_delete(collection=now(beside))
        with pytest.raises(CollectionNotFound, match="deleted"):
            collection_switch(collection=beside)


def test_a_collection_is_switched_while_it_is_searched():
    figures = switched_under_load(4, 10, askers=2)
    assert figures["searches"] > 20
    assert figures["chunks"] > 40


@pytest.mark.slow
def test_a_large_collection_is_switched_while_it_is_searched():
    figures = switched_under_load(250, 20, askers=2)
    print(figures)
    assert figures["chunks"] >= 5_000
    assert figures["switch"] < 1
    assert figures["back"] < 1
