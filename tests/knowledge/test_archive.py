"""A collection carried away in one file, and into an installation that has nothing."""

import asyncio
import hashlib
import io
import json
import random
import struct
import uuid
import zipfile
from dataclasses import asdict

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from knowledge.access import EVERYTHING
from knowledge.archive import collection_export, collection_import, import_plan
from knowledge.archive.layout import Manifest
from knowledge.archive.tables import TABLES
from knowledge.authors import Author
from knowledge.curation.editing import chunk_split, chunks_switch
from knowledge.curation.review import revision_approve, revision_reject
from knowledge.curation.rollback import revision_restore
from knowledge.documents import document_update
from knowledge.embedding import MINILM
from knowledge.exceptions import BadArchive
from knowledge.filing import file_receive
from knowledge.golden import golden_evaluate
from knowledge.inprocess import embedding_models_ensure
from knowledge.models import (
    Chunk,
    ChunkEdit,
    Collection,
    Document,
    DocumentRevision,
    DocumentUse,
    Embedding,
    EmbeddingModel,
    EvaluationRun,
    GoldenQuery,
    IngestionJob,
    Posting,
    StoredContent,
    StoredFile,
    WatchedSource,
)
from knowledge.passages import Fusion, Mode, SearchRequest
from knowledge.receiving import Incoming, document_receive, page_receive
from knowledge.search import search
from knowledge.storedfiles import file_store
from knowledge.wording import _remembered
from routing.exceptions import BadRequest
from routing.models import Expert, InstalledModel, ModelServer
from tests.knowledge.library import Bench, chunk_edit, put, shelf, small_model, text_of
from tests.knowledge.test_search import RealBench

pytestmark = pytest.mark.usefixtures("knowledge")

ANIMALS = {
    "otter.md": "The otter is a mammal that swims in rivers and lives on fish, day and night.",
    "heron.md": "The grey heron stands motionless in shallow water until prey comes near it.",
    "bee.md": "A colony of honey bees stores nectar for the winter in combs of wax.",
    "engine.md": "The pump of the engine needs oil every two weeks. Its part number is QX-4411.",
    "leave.md": "Everyone has thirty days of leave a year, and asks the team lead for them.",
}
QUESTIONS = (
    "Which insect makes provisions for the cold season?",
    "QX-4411",
    "Who swims in a river?",
    "How many days of leave are there?",
    "oil for the pump",
)


def packed(collection):
    file = io.BytesIO()
    collection_export(collection=collection, to=file)
    return file


def unpacked(file):
    """Return the rows of an archive by table, as they are in it."""
    with zipfile.ZipFile(file) as archive:
        return {
            name.removesuffix(".jsonl"): [json.loads(line) for line in archive.read(name).splitlines()]
            for name in archive.namelist()
            if name.endswith(".jsonl")
        }


def wipe():
    """Leave an installation as it is when it is new."""
    tables = [model._meta.db_table for model in apps.get_app_config("knowledge").get_models(include_auto_created=True)]
    with connection.cursor() as cursor:
        cursor.execute(f"TRUNCATE {', '.join(tables)}, procrastinate_jobs RESTART IDENTITY CASCADE")
    User.objects.all().delete()
    _remembered.clear()
    embedding_models_ensure()


def elsewhere(file, **wishes):
    """Import a file into an installation that is new; there, ids are others."""
    wipe()
    shelf("other")
    for number in range(3):
        put(Collection.objects.get(slug="other"), f"Something else, number {number}.", source=f"{number}.md")
    return collection_import(file=file, **wishes)


def rows_of(model, *left_out, order="pk", **where):
    """Return rows with everything that is not an id."""
    names = [column.name for column in model._meta.concrete_fields if not (column.is_relation or column.primary_key)]
    return list(model._default_manager.filter(**where).order_by(order).values(*(set(names) - {*left_out})))


def answers(slug, **wishes):
    found = []
    for question in QUESTIONS:
        request = SearchRequest(query=question, collections=(slug,), top_k=20, **wishes)
        retrieval = asyncio.run(search(request, access=EVERYTHING))
        passages = [asdict(passage) for passage in retrieval.passages]
        for passage in passages:
            del passage["chunk"], passage["document"]
        found.append((retrieval.strength, retrieval.weak, passages))
    return found


def filled(**fields):
    """Return a collection with real vectors, whose documents have a past."""
    fields = {"language": "en", "embedding_model": EmbeddingModel.objects.get(name=MINILM), "chunk_tokens": 60} | fields
    collection = shelf("handbook", **fields)
    bench = RealBench()
    for source, text in ANIMALS.items():
        put(collection, text_of(text, text.replace("the", "some"), title=source), source=source, bench=bench)
    put(collection, text_of("Otters swim.", "Otters eat.", title="otter.md"), source="otter.md", bench=bench)
    return collection


@pytest.fixture
def anna(db):
    return User.objects.create_user("anna")


@pytest.fixture
def past(anna):
    """A collection with everything that can happen to one."""
    collection = filled(description="What we know.", metadata={"owner": "hr"}, trusted=False, threshold=0.3)
    author, bench = Author.of(anna), RealBench()
    collection.history_user = anna
    live = Chunk.objects.live().filter(collection=collection)
    bench.run(chunk_edit(chunk=live.get(text__startswith="A colony"), text="Bees keep honey.", author=author).job)
    two = live.filter(document__source="leave.md").first()
    middle = len(two.text) // 2
    bench.run(chunk_split(chunk=two, texts=[two.text[:middle], two.text[middle:]], reason="Too long.").job)
    bench.run(chunks_switch(chunks=[live.get(document__source="heron.md")], enabled=False, author=author).job)
    otter = Document.objects.get(source="otter.md")
    bench.run(revision_restore(document=otter, number=1, author=author, reason="The old one was better.").job)
    document_update(document=Document.objects.get(source="engine.md"), enabled=False, metadata={"year": 2024})
    DocumentUse.objects.create(document=otter, retrieved=7, retrieved_at=timezone.now())
    with_golden(collection, anna)
    WatchedSource.objects.create(collection=collection, kind="sitemap", location="https://example.org/sitemap.xml")
    return collection


def with_golden(collection, anna):
    for question, source in (("Who keeps honey?", "bee.md"), ("How much leave?", "leave.md")):
        golden = GoldenQuery(collection=collection, query=question)
        golden._history_user = anna
        golden.save()
        golden.documents.add(Document.objects.get(collection=collection, source=source))
    golden.answers = ["thirty days"]
    golden._change_reason, golden._history_user = "More exact.", anna
    golden.save()
    run = asyncio.run(golden_evaluate(collection, reason="before the change"))
    run.settings["against"] = run.pk
    run.save()


class TestThereAndBack:
    def test_searches_find_the_same_to_the_last_score(self, past):
        file = packed(past)
        ways = [{}, {"mode": Mode.TEXT}, {"mode": Mode.VECTOR}, {"fusion": Fusion.RRF, "vector_weight": 0.7}]
        before = [answers("handbook", **way) for way in ways]
        assert any(passages for _, _, passages in before[0])
        facts = Collection.objects.values("chunk_count", "term_count", "languages").get(pk=past.pk)
        elsewhere(file)
        assert [answers("handbook", **way) for way in ways] == before
        assert Collection.objects.values("chunk_count", "term_count", "languages").get(slug="handbook") == facts

    def test_what_was_exported_is_exported_again(self, past):
        """Everything but ids: what refers to what is seen by the pages below, and by the rules of check_knowledge."""
        file = packed(past)
        first = unpacked(file)
        imported = elsewhere(file)
        assert (imported.slug, imported.documents) == ("handbook", 5)
        second = unpacked(packed(imported.collection))
        assert {name: len(rows) for name, rows in second.items()} == {name: len(rows) for name, rows in first.items()}
        own = {table.name: table for table in TABLES}
        for name in first.keys() - {"contents", "embedding_models"}:
            ids = {own[name].key.name, *own[name].references, "chunk_ids", "edits", "recipe", "held_back", "details"}
            ids |= {"settings"} if name == "evaluations" else {"enabled"} if name == "watched_sources" else set()
            plain = [[{key: row[key] for key in row.keys() - ids} for row in rows[name]] for rows in (first, second)]
            assert plain[0] == plain[1], name
        assert first["contents"] == second["contents"]

    def test_history_says_who_when_and_why(self, past):
        before = history(past)
        elsewhere(packed(past))
        assert history(Collection.objects.get(slug="handbook")) == before
        told = [entry for entry in before["edits"] if entry[0] == "anna"]
        assert told
        assert ("anna", "The old one was better.") in {(one[1], one[2]) for one in before["revisions"]}

    def test_every_revision_has_the_chunks_it_had(self, past):
        before = texts_of_revisions(past)
        assert len(before) > 8
        elsewhere(packed(past))
        assert texts_of_revisions(Collection.objects.get(slug="handbook")) == before

    def test_a_document_is_brought_back_from_its_past_there(self, past):
        elsewhere(packed(past))
        otter = Document.objects.get(source="otter.md")
        RealBench().run(revision_restore(document=otter, number=2).job)
        texts = Chunk.objects.live().filter(document=otter).values_list("text", flat=True)
        assert "Otters swim." in "\n".join(texts)

    def test_edits_are_put_on_what_is_read_there(self, past):
        elsewhere(packed(past))
        collection = Collection.objects.get(slug="handbook")
        bee = text_of(ANIMALS["bee.md"], "Something was added at the end of it.", title="bee.md")
        put(collection, bee, source="bee.md", bench=RealBench())
        texts = "\n".join(Chunk.objects.findable().filter(document__source="bee.md").values_list("text", flat=True))
        assert "Bees keep honey." in texts
        assert "added at the end" in texts

    def test_golden_queries_mean_the_same_documents(self, past):
        def told():
            return [
                (golden.query, golden.answers, sorted(golden.documents.values_list("source", flat=True)))
                for golden in GoldenQuery.objects.filter(collection__slug="handbook")
            ]

        before, run = told(), EvaluationRun.objects.get()
        elsewhere(packed(past))
        assert told() == before
        there = EvaluationRun.objects.get()
        assert there.measures == run.measures
        assert there.settings["against"] == there.pk
        assert {one["id"] for one in there.details} == set(GoldenQuery.objects.values_list("pk", flat=True))
        sources = Document.objects.in_bulk()
        for one in there.details:
            assert all(sources[hit["document"]].title == hit["title"] for hit in one["found"])
        measured = asyncio.run(golden_evaluate(Collection.objects.get(slug="handbook")))
        assert measured.measures | {"ms_per_query": 0} == run.measures | {"ms_per_query": 0}

    def test_nothing_is_read_again_for_being_somewhere_else(self, past):
        elsewhere(packed(past))
        collection = Collection.objects.get(slug="handbook")
        assert not Document.objects.outdated(collection).exists()
        text = text_of(ANIMALS["leave.md"], ANIMALS["leave.md"].replace("the", "some"), title="leave.md")
        received = document_receive(
            collection=collection, incoming=Incoming(source="leave.md", name="leave.md", data=text)
        )
        assert received.job is None

    def test_a_copy_beside_it_gets_ids_of_its_own(self, past):
        copy = collection_import(file=packed(past), slug="copy").collection
        assert copy.slug == "copy"
        assert copy.uid != past.uid
        assert answers("copy")[0][2][0]["text"] == answers("handbook")[0][2][0]["text"]
        assert Document.objects.count() == 10
        assert Document.objects.values("uid").distinct().count() == 10

    def test_ids_that_clients_know_stay_where_they_are_free(self, past):
        uids = set(Document.objects.values_list("uid", flat=True))
        imported = elsewhere(packed(past))
        assert imported.collection.public_id == past.public_id
        assert set(Document.objects.filter(collection=imported.collection).values_list("uid", flat=True)) == uids

    def test_the_worlds_of_accounts_are_kept_apart(self, past):
        file = packed(past)
        wipe()
        other = User.objects.create_user("anna")
        collection_import(file=file)
        assert not DocumentRevision.objects.filter(author=other).exists()
        assert not ChunkEdit.history.filter(history_user=other).exists()
        assert ChunkEdit.history.filter(who="anna").exists()

    def test_watched_sources_are_off(self, past):
        imported = elsewhere(packed(past))
        assert WatchedSource.objects.values_list("location", "enabled").get() == (
            "https://example.org/sitemap.xml",
            False,
        )
        assert any("watched sources (1) are off" in note for note in imported.notes)


def history(collection):
    """Return who changed what when and why, as pages show it."""
    edits = ChunkEdit.history.filter(document__collection=collection).order_by("history_id")
    golden = GoldenQuery.history.filter(collection=collection).order_by("history_id")
    revisions = DocumentRevision.objects.filter(document__collection=collection).order_by("pk")
    return {
        "edits": [(one.who, one.history_date, one.history_change_reason, one.texts, one.state) for one in edits],
        "golden": [
            (one.who, one.history_date, one.history_change_reason, [row.document.source for row in one.documents.all()])
            for one in golden
        ],
        "collection": [
            (one.who, one.history_date, one.history_type, one.name, one.embedding_model.name)
            for one in Collection.history.filter(id=collection.pk).order_by("history_id")
        ],
        "revisions": [
            (one.created_at, one.author_name, one.reason, one.number, one.state, one.reviewer_name, one.review_note)
            for one in revisions
        ],
    }


def texts_of_revisions(collection):
    chunks = Chunk.objects.in_bulk()
    return {
        (one.document.source, one.number): [
            (chunks[pk].text, chunks[pk].state, chunks[pk].enabled, len(one.edits)) for pk in one.chunk_ids
        ]
        for one in DocumentRevision.objects.filter(document__collection=collection).select_related("document")
    }


class TestWhatIsOnItsWay:
    def test_what_waits_for_review_waits_on_and_can_be_approved(self, anna):
        collection = shelf(review=True)
        bench = Bench()
        put(collection, "Cats purr.", source="cat.md", bench=bench)
        revision_approve(revision=DocumentRevision.objects.get(), reviewer=Author.of(anna), note="Good.")
        bench.run(IngestionJob.objects.unfinished().get())
        put(collection, "Cats purr loudly.", source="cat.md", bench=bench)
        put(collection, "Dogs bark.", source="dog.md", bench=bench)
        revision_reject(
            revision=DocumentRevision.objects.get(document__source="dog.md"), reviewer=Author.of(anna), note="Wrong."
        )
        there = elsewhere(packed(collection)).collection
        waiting = DocumentRevision.objects.get(document__collection=there, state="review")
        assert DocumentRevision.objects.get(state="rejected").reviewer_name == "anna"
        assert waiting.document.status == "ready"
        revision_approve(revision=waiting, reviewer=Author(name="bob"))
        assert bench.run(IngestionJob.objects.unfinished().get(collection=there)).state == "done"
        assert list(Chunk.objects.findable().filter(collection=there).values_list("text", flat=True)) == [
            "Cats purr loudly."
        ]

    def test_what_was_not_read_yet_is_read_there(self):
        collection = shelf()
        put(collection, "Cats purr.", source="cat.md")
        document_receive(collection=collection, incoming=Incoming(source="cat.md", name="cat.md", data=b"Cats sleep."))
        page_receive(collection=collection, url="https://example.org/page")
        file = packed(collection)
        there = elsewhere(file).collection
        jobs = {job.document.source: job for job in IngestionJob.objects.unfinished().filter(collection=there)}
        assert jobs["https://example.org/page"].url == "https://example.org/page"
        assert Bench().run(jobs["cat.md"]).state == "done"
        assert Chunk.objects.findable().get(collection=there).text == "Cats sleep."

    def test_what_failed_says_why(self):
        collection = shelf()
        put(collection, " ", source="empty.md")
        there = elsewhere(packed(collection)).collection
        document = Document.objects.get(collection=there)
        assert document.status == "failed"
        assert "empty" in document.error

    def test_a_file_keeps_its_id_and_is_still_what_its_document_is_of(self):
        collection = shelf()
        file = file_store(name="a.txt", purpose="assistants", data=b"Cats purr.", access=EVERYTHING)
        Bench().run(file_receive(collection=collection, file=file, attributes={"a": 1}).job)
        there = elsewhere(packed(collection)).collection
        assert Document.objects.get(collection=there).file_id == file.pk
        copy = collection_import(file=packed(there), slug="copy").collection
        assert Document.objects.get(collection=copy).file_id != file.pk
        assert StoredFile.objects.count() == 2


class TestModels:
    def test_a_model_that_is_missing_comes_along_and_it_is_said_that_it_must_be_pulled(self):
        collection = shelf(embedding_model=small_model("nomic-embed-text", query_prefix="search: "))
        put(collection, "Cats purr.")
        imported = elsewhere(packed(collection))
        model = imported.collection.embedding_model
        assert (model.name, model.dimensions, model.query_prefix) == ("nomic-embed-text", 8, "search: ")
        assert Embedding.objects.filter(embedding_model=model, findable=True).count() == 1
        assert any("manage.py models pull nomic-embed-text" in note for note in imported.notes)

    def test_a_model_that_a_server_has_is_registered(self):
        collection = shelf(embedding_model=small_model("nomic-embed-text"))
        put(collection, "Cats purr.")
        file = packed(collection)
        server = ModelServer.objects.create(name="one", base_url="http://127.0.0.1:1")
        InstalledModel.objects.create(server=server, name="nomic-embed-text:latest")
        assert elsewhere(file).notes == ("The embedding model 'nomic-embed-text' is new here; a model server has it.",)

    def test_another_model_of_the_same_name_is_not_taken_for_it(self):
        collection = shelf(embedding_model=small_model("nomic-embed-text"))
        put(collection, "Cats purr.")
        file = packed(collection)
        wipe()
        small_model("nomic-embed-text", dimensions=16)
        with pytest.raises(BadRequest, match="another model"):
            collection_import(file=file)
        assert not Collection.objects.exists()

    def test_who_is_no_administrator_brings_no_model_and_no_watched_source(self):
        collection = shelf(embedding_model=small_model("nomic-embed-text"))
        WatchedSource.objects.create(collection=collection, kind="sitemap", location="https://example.org/")
        put(collection, "Cats purr.")
        Document.objects.update(watch=WatchedSource.objects.get())
        file = packed(collection)
        imported = collection_import(file=file, slug="copy", as_administrator=False)
        assert not imported.collection.watched_sources.exists()
        wipe()
        with pytest.raises(BadRequest, match="administrator"):
            collection_import(file=file, as_administrator=False)

    def test_the_models_beside_come_along_with_their_vectors(self):
        collection = shelf(previous_model=small_model("former", dimensions=5))
        put(collection, "Cats purr.")
        there = elsewhere(packed(collection)).collection
        assert there.previous_model.name == "former"
        assert {row.embedding_model.name for row in Embedding.objects.filter(collection=there)} == {"words", "former"}

    def test_experts_are_found_by_their_names(self):
        order = Expert.objects.create(slug="order", name="Order")
        collection = shelf(reranker=order, condenser=Expert.objects.create(slug="small", name="Small"))
        file = packed(collection)
        Expert.objects.filter(slug="small").delete()
        imported = elsewhere(file)
        assert imported.collection.reranker == order
        assert imported.collection.condenser is None
        assert imported.notes == ("There is no expert 'small' here; the collection has no condenser.",)


class TestWhatIsThere:
    def test_a_collection_is_never_overwritten(self):
        file = packed(shelf())
        with pytest.raises(BadRequest, match="not overwritten"):
            collection_import(file=file)
        assert collection_import(file=file, slug="other").slug == "other"

    def test_a_plan_writes_nothing(self):
        collection = shelf()
        put(collection, "Cats purr.")
        plan = import_plan(file=packed(collection), slug="other")
        assert (plan.slug, plan.collection, plan.documents, plan.chunks) == ("other", None, 1, 1)
        assert Collection.objects.count() == 1

    def test_one_that_expires_is_not_gone_at_once(self):
        collection = shelf(expires_after_days=1)
        file = packed(collection)
        Collection.objects.update(last_active_at=timezone.now() - timezone.timedelta(days=30))
        assert not collection_import(file=file, slug="other").collection.is_expired

    def test_grants_and_keys_stay_where_they_are(self):
        collection = shelf(everyone=0)
        collection.grants.create(group="hr", level=1)
        there = collection_import(file=packed(collection), slug="other").collection
        assert (there.everyone, there.grants.count()) == (0, 0)


# --- files that are not as they should be


@pytest.fixture
def file():
    collection = shelf()
    put(collection, text_of("Cats purr.", "Dogs bark.", title="Animals"), source="a.md")
    put(collection, "Birds sing.", source="b.md")
    return packed(collection)


def changed(file, change, *, honest=True):
    """Return an archive in which ``change`` has changed members; ``honest``: its manifest says what they are now."""
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    manifest = json.loads(members["manifest.json"])
    for name in [*manifest["parts"]]:
        if honest and name in members:
            manifest["parts"][name] |= {
                "size": len(members[name]),
                "sha256": hashlib.sha256(members[name]).hexdigest(),
            }
    if honest:
        members["manifest.json"] = json.dumps(manifest).encode()
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out


def rows_changed(table, change):
    def inside(members):
        rows = [json.loads(line) for line in members[f"{table}.jsonl"].splitlines()]
        change(rows)
        members[f"{table}.jsonl"] = b"".join(json.dumps(row).encode() + b"\n" for row in rows)

    return inside


def first(**values):
    return lambda rows: rows[0].update(values)


NAN = struct.pack("<f", float("nan"))


class TestDamaged:
    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (rows_changed("chunks", first(text=5_000 * ["x"])), "text"),
            (rows_changed("chunks", first(colour="red")), "newer version"),
            (rows_changed("chunks", first(state="gone")), "state"),
            (rows_changed("chunks", first(state="retired")), "not those of the live revision"),
            (rows_changed("chunks", first(ordinal=7)), "not those of the live revision"),
            (rows_changed("chunks", first(document=99)), "no 'document' 99"),
            (rows_changed("chunks", first(document=None)), "does not say its 'document'"),
            (rows_changed("chunks", first(id=-1)), "do not rise"),
            (rows_changed("chunks", lambda rows: rows.reverse()), "do not rise"),
            (rows_changed("chunks", lambda rows: rows[0].pop("hash")), "lacks 'hash'"),
            (rows_changed("chunks", first(hash="x" * 65)), "hash"),
            (rows_changed("revisions", first(chunk_ids={"a": 1})), "chunk_ids"),
            (rows_changed("revisions", first(chunk_ids=["x"])), "names a chunk"),
            (rows_changed("revisions", first(chunk_ids=[])), "not those of the live revision"),
            (rows_changed("revisions", first(edits=[{"id": 5}])), "names an edit"),
            (rows_changed("revisions", first(content="0" * 64)), "no 'content'"),
            (rows_changed("revisions", first(state="superseded")), "live revision is missing"),
            (rows_changed("documents", first(revision=0)), "not those of the live revision"),
            (rows_changed("documents", first(source="b.md")), "that of another document"),
            (rows_changed("documents", first(created_at="yesterday")), "created_at"),
            (rows_changed("documents", first(metadata=[])), "metadata"),
            (rows_changed("collections", first(mode="fuzzy")), "mode"),
            (rows_changed("collections", first(chunk_overlap=39)), "half"),
            (rows_changed("collections", lambda rows: rows.append(rows[0] | {"id": 99})), "more than one collection"),
            (rows_changed("collections", lambda rows: rows.clear()), "no collection"),
            (rows_changed("contents", lambda rows: rows.pop()), "does not tell of"),
            (rows_changed("contents", first(size=1)), "another size"),
            (lambda members: members.update({"chunks.jsonl": b"{\n"}), "no JSON"),
            (lambda members: members.update({"chunks.jsonl": b"[]\n"}), "no row"),
            (lambda members: members.update({"chunks.jsonl": members["chunks.jsonl"][:-1]}), "cut off"),
            (lambda members: members.update({"../../etc/passwd": b"x"}), "which no archive does"),
            (lambda members: members.update({"extra.jsonl": b"{}\n"}), "no archive of this version"),
            (lambda members: members.pop("chunks.jsonl"), "missing in it"),
        ],
    )
    def test_it_is_refused_with_the_reason_and_nothing_is_written(self, file, change, words):
        contents = StoredContent.objects.count()
        with pytest.raises(BadArchive, match=words):
            collection_import(file=changed(file, change), slug="other")
        assert Collection.objects.count() == 1
        assert StoredContent.objects.count() == contents

    def test_what_was_changed_on_the_way_is_noticed(self, file):
        bad = changed(file, rows_changed("chunks", first(text="Cats bark")), honest=False)
        with pytest.raises(BadArchive, match="damaged"):
            collection_import(file=bad, slug="other")

    def test_an_original_that_is_another_is_noticed(self, file):
        def change(members):
            name = next(name for name in members if name.startswith("contents/"))
            members[name] = b"x" * len(members[name])

        with pytest.raises(BadArchive, match=r"original \w+ is damaged"):
            collection_import(file=changed(file, change), slug="other")

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (lambda data: data[:-3], "middle of a vector"),
            (lambda data: data[:40], "lack their vectors"),
            (lambda data: data + data[:40], "two of one"),
            (lambda data: data[:-4] + NAN, "a number is none"),
            (lambda data: struct.pack("<Q", 2**63) + data[8:], "of a chunk that has none"),
        ],
        ids=["cut", "missing", "twice", "nan", "unknown"],
    )
    def test_vectors_are_those_of_the_chunks(self, file, change, words):
        def inside(members):
            name = next(name for name in members if name.startswith("vectors/"))
            members[name] = change(members[name])

        with pytest.raises(BadArchive, match=words):
            collection_import(file=changed(file, inside), slug="other")

    def test_texts_that_cannot_be_stored_write_nothing(self, file):
        bad = changed(file, rows_changed("documents", first(metadata={"a": "\0"})))
        with pytest.raises(BadArchive, match="cannot be stored"):
            collection_import(file=bad, slug="other")
        assert Collection.objects.count() == 1

    def test_another_version_is_told(self, file):
        def change(members):
            manifest = json.loads(members["manifest.json"])
            members["manifest.json"] = json.dumps(manifest | {"version": 2}).encode()

        bad = changed(file, change)
        with pytest.raises(BadArchive, match="version 2 of the format"):
            collection_import(file=bad, slug="other")

    def test_what_unpacks_to_too_much_is_not_unpacked(self, file, monkeypatch):
        monkeypatch.setattr("knowledge.archive.reading.ALWAYS_UNPACKED", 1_000_000)

        def bomb(members):
            members["chunks.jsonl"] += b" " * 5_000_000 + b"\n"

        with pytest.raises(BadArchive, match="far more"):
            collection_import(file=changed(file, bomb), slug="other")

    @pytest.mark.parametrize("data", [b"", b"no zip", b"PK\x03\x04" + b"\0" * 100], ids=["empty", "text", "head"])
    def test_what_is_no_zip_is_told(self, data, knowledge):
        with pytest.raises(BadArchive, match="no zip file"):
            collection_import(file=io.BytesIO(data))

    def test_no_damage_gets_through(self, file):
        """Any byte of the file, changed, is found out or changes nothing."""
        data = file.getvalue()
        numbers = random.Random(7)
        expected = rows_of(Chunk, collection__slug="handbook")
        for _ in range(40):
            bad = bytearray(data)
            bad[numbers.randrange(len(bad))] ^= 1 << numbers.randrange(8)
            slug = f"copy-{uuid.uuid4().hex}"
            try:
                collection_import(file=io.BytesIO(bytes(bad)), slug=slug)
            except BadArchive:
                continue
            assert rows_of(Chunk, collection__slug=slug) == expected


def test_a_manifest_that_makes_no_sense_is_none():
    for body in ([], {}, {"format": "moe-collection", "version": 1}, {"format": "moe-collection", "version": "x"}):
        with pytest.raises(ValueError):
            Manifest.parse(body)


class TestTables:
    def test_every_column_is_carried_or_left_out_for_a_reason(self):
        """What is new in a table is carried by itself, unless it refers to something that nobody thought of."""
        for table in TABLES:
            unknown = [one.name for one in table.fields if one.is_relation and one.name not in table.references]
            assert not unknown, table.name

    def test_every_table_of_a_collection_is_carried_or_left_out_for_a_reason(self):
        left = {
            "dismissal",
            "grant",
            "ingestionjob",
            "filebatch",
            "filebatch_documents",
            "embedding",
            "posting",
            "retrievaltrace",
        }
        own = {table.model._meta.model_name for table in TABLES} | {"storedcontent"}
        models = apps.get_app_config("knowledge").get_models(include_auto_created=True)
        assert {model._meta.model_name for model in models} == own | left


class TestCommands:
    def test_there_and_back(self, file, tmp_path, capsys):
        path = tmp_path / "handbook.zip"
        call_command("export_collection", "handbook", str(path))
        assert [entry.name for entry in tmp_path.iterdir()] == ["handbook.zip"]
        assert "2 documents" in capsys.readouterr().out
        call_command("import_collection", str(path), "--slug", "other", "--dry-run")
        assert "would be" in capsys.readouterr().out
        assert Collection.objects.count() == 1
        call_command("import_collection", str(path), "--slug", "other")
        assert "2 documents" in capsys.readouterr().out
        assert (
            Posting.objects.filter(collection__slug="other").count()
            == Posting.objects.filter(collection__slug="handbook").count()
        )

    def test_problems_are_told(self, file, tmp_path):
        path = tmp_path / "a.zip"
        with pytest.raises(CommandError, match="no collection 'nothing'"):
            call_command("export_collection", "nothing", str(path))
        with pytest.raises(CommandError, match="No such file"):
            call_command("import_collection", str(path))
        call_command("export_collection", "handbook", str(path))
        with pytest.raises(CommandError, match="not overwritten"):
            call_command("import_collection", str(path))
        with pytest.raises(CommandError, match="is there already"):
            call_command("export_collection", "handbook", str(path))
        path.write_bytes(b"x")
        with pytest.raises(CommandError, match="no zip file"):
            call_command("import_collection", str(path))

    def test_collections_of_a_running_evaluation_are_not_exported(self, tmp_path):
        shelf("measuring", scratch=True)
        with pytest.raises(CommandError, match="no collection 'measuring'"):
            call_command("export_collection", "measuring", str(tmp_path / "a.zip"))
