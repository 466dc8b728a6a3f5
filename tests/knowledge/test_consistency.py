"""What must hold is looked at by queries: each fault is found, and a sound knowledge base has none."""

from io import StringIO
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from knowledge.consistency import MOST, inconsistencies
from knowledge.models import Collection, IngestionJob
from knowledge.receiving import Incoming, document_receive
from tests.knowledge.library import put, shelf, small_model, text_of

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def library():
    """A collection with a document in two revisions, one that is disabled, and one that waits."""
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE procrastinate_jobs, procrastinate_workers CASCADE")
    collection = shelf(chunk_tokens=32)
    put(collection, text_of("## A", "Cats purr when they are content.", "## B", "Dogs bark."), source="a.md")
    put(collection, text_of("## A", "Cats purr when they are content.", "## C", "Owls fly."), source="a.md")
    put(collection, text_of("Fish swim."), source="b.md")
    small_model("other")
    shelf("second")
    document_receive(collection=collection, incoming=Incoming(source="c.md", name="c.md", data=b"Bees hum."))
    return collection


def test_a_sound_one_has_none(library):
    assert inconsistencies() == []
    out = StringIO()
    call_command("check_knowledge", stdout=out)
    assert "is consistent" in out.getvalue()


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("UPDATE knowledge_document SET revision = 1 WHERE source = 'a.md'", "not the live one"),
        ("UPDATE knowledge_document SET status = 'processing' WHERE source = 'a.md'", "no job is there for it"),
        ("UPDATE knowledge_ingestionjob SET state = 'failed' WHERE state = 'queued'", "waits, and no job"),
        ("DELETE FROM procrastinate_jobs", "is in no queue"),
        ("UPDATE knowledge_chunk SET state = 'staged' WHERE text LIKE '%Dogs%'", "does not wait for it"),
        ("UPDATE knowledge_chunk SET ordinal = ordinal + 1", "in their order"),
        (
            "UPDATE knowledge_documentrevision SET chunk_ids = '[]' WHERE state = 'live'",
            "not those of its live revision",
        ),
        ("UPDATE knowledge_chunk SET collection_id = (SELECT max(id) FROM knowledge_collection)", "another collection"),
        ("DELETE FROM knowledge_embedding", "has no vector"),
        ("UPDATE knowledge_embedding SET findable = false", "otherwise whether it is found"),
        ("UPDATE knowledge_embedding SET vector = '[1,2]'", "or width"),
        ("UPDATE knowledge_document SET enabled = false WHERE source = 'a.md'", "has postings, and is not found"),
        ("DELETE FROM knowledge_posting", "can be found and has no postings"),
        ("UPDATE knowledge_posting SET length = length + 1", "do not add up"),
        ("UPDATE knowledge_collection SET chunk_count = chunk_count + 1", "counts other chunks or terms"),
        ("UPDATE knowledge_collection SET term_count = term_count + 1", "counts other chunks or terms"),
        (
            "INSERT INTO knowledge_storedcontent (sha256, data, size, created_at) VALUES ('abc', '', 0, now())",
            "belongs to no revision",
        ),
    ],
)
def test_a_fault_is_found(library, fault, sentence):
    with connection.cursor() as cursor:
        cursor.execute(fault)
    assert any(sentence in found for found in inconsistencies()), inconsistencies()
    with pytest.raises(CommandError):
        call_command("check_knowledge", stdout=StringIO())


def test_a_document_that_two_jobs_read(library):
    job = IngestionJob.objects.get(state="queued")
    job.pk = uuid4()
    job.save(force_insert=True)
    assert any("several jobs" in found for found in inconsistencies())


def test_many_of_a_kind_are_not_all_listed():
    collection = shelf(chunk_tokens=32)
    put(collection, text_of(*(part for n in range(9) for part in (f"## {n}", f"Number {n}."))))
    with connection.cursor() as cursor:
        cursor.execute("UPDATE knowledge_embedding SET findable = false")
    found = inconsistencies()
    assert len(found) == MOST + 1
    assert found[-1] == f"… and {9 - MOST} more such"
    assert Collection.objects.count() == 1
