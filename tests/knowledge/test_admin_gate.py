"""What the gate held back, in the admin: why, and the two answers to it."""

import pytest

from knowledge import gate as gates
from knowledge.models import Collection, Document, DocumentRevision, IngestionJob
from tests.knowledge.rows import signed_in, words_of
from tests.knowledge.test_gate import OTTERS, gated, spoilt
from tests.knowledge.test_search import RealBench

pytestmark = pytest.mark.usefixtures("knowledge")

LIST = "/admin/knowledge/documentrevision/"


@pytest.fixture
def held():
    """A revision that the gate held back."""
    spoilt(gated())
    yield DocumentRevision.objects.get(state="review")
    gates._standings.clear()


def answered(client, revision, do, note):
    return words_of(client.post(f"{LIST}{revision.pk}/answer/", {"do": do, "note": note}, follow=True))


def test_the_questions_that_got_worse_are_shown(admin_client, held):
    assert "Otters" in words_of(admin_client.get(LIST))
    words = words_of(admin_client.get(f"{LIST}{held.pk}/change/"))
    assert "Held back by the gate It does not go live: recall@5 on the golden queries would fall from 1.000" in words
    assert f"{OTTERS} 1.000 0.000" in words
    assert "Publish all the same Discard" in words
    document = Document.objects.get(source="otter.md")
    assert "It does not go live" in words_of(admin_client.get(f"/admin/knowledge/document/{document.pk}/change/"))


def test_it_is_published_all_the_same_by_who_says_why(admin_client, held):
    assert "Say why it is published although" in answered(admin_client, held, "approve", " ")
    assert "is approved" in answered(admin_client, held, "approve", "The old text was wrong.")
    job = RealBench().run(IngestionJob.objects.unfinished().get())
    assert (job.state, Document.objects.get(source="otter.md").revision) == ("done", 2)


def test_it_is_discarded(admin_client, held):
    assert "is rejected" in answered(admin_client, held, "reject", "It was a mistake.")
    assert Document.objects.get(source="otter.md").error == ""


def test_only_who_may_change_the_gate_overrules_it(client, held):
    signed_in(client, "change_documentrevision")
    page = f"{LIST}{held.pk}/"
    assert "Publish all the same" not in words_of(client.get(f"{page}change/"))
    assert client.post(f"{page}answer/", {"do": "approve", "note": "I want it."}).status_code == 403


def test_the_gate_is_set_at_the_collection(admin_client, held):
    collection = Collection.objects.get()
    words = words_of(admin_client.get(f"/admin/knowledge/collection/{collection.pk}/change/"))
    assert "Largest fall of recall" in words
