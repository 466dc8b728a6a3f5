"""The gate: what would make golden queries be answered worse does not go live, and says which they are."""

import pytest

from knowledge import gate as gates
from knowledge.authors import Author
from knowledge.curation.review import revision_approve, revision_reject
from knowledge.documents import document_reingest
from knowledge.models import Chunk, Collection, Document, DocumentRevision, GoldenQuery, IngestionJob
from knowledge.standing import may_change
from routing.exceptions import BadRequest
from tests.knowledge.library import put, text_of
from tests.knowledge.test_search import ANIMALS, RealBench, ask, filled, titles

pytestmark = pytest.mark.usefixtures("knowledge")

OTTERS = "What does the otter live on?"
BEES = "Who stores nectar for the winter?"
SOMEBODY = Author(user=None, name="worker")


@pytest.fixture(autouse=True)
def _nothing_is_remembered():
    yield
    gates._standings.clear()


OTHERS = {
    f"{animal}.md": f"# {animal.title()}s\n\nThe {animal} lives on {food} and stores {thing} in {place}."
    for animal, food, thing, place in (
        ("squirrel", "nuts", "acorns", "hollow trees"),
        ("badger", "worms", "grass", "its sett"),
        ("magpie", "seeds", "shining things", "its nest"),
        ("hamster", "grain", "corn", "its cheeks"),
        ("camel", "thorns", "fat", "its hump"),
        ("beaver", "bark", "twigs", "its lodge"),
    )
}


def gated(limit=0.1, **fields):
    """Return a collection with two golden queries, which it answers."""
    collection = filled(documents=ANIMALS | OTHERS, **fields)
    for query, source in ((OTTERS, "otter.md"), (BEES, "bee.md")):
        GoldenQuery.objects.create(collection=collection, query=query).documents.add(
            collection.documents.get(source=source)
        )
    Collection.objects.filter(pk=collection.pk).update(gate=limit)
    return Collection.objects.get(pk=collection.pk)


def spoilt(collection, text="# Zinc\n\nZinc is a metal.", source="otter.md"):
    return put(collection, text, source=source, bench=RealBench())


def distractors(subject="otter"):
    """Return a document whose sections all answer as well as the right one, each in words of its own."""
    says = ("eats", "hunts", "catches", "prefers", "devours", "seeks", "swallows")
    parts = [f"## What does the {subject} live on? {one}\n\nThe {subject} lives on and {one} crayfish." for one in says]
    return text_of(*parts, title="What does the otter live on?")


def test_a_change_that_spoils_a_question_does_not_go_live(knowledge):
    collection = gated()
    document, job = spoilt(collection)
    assert (job.state, job.error_code, document.revision) == ("failed", "held_back", 1)
    assert "would fall from 1.000 to 0.500, and the collection allows 0.1" in job.error
    assert f"“{OTTERS}”" in job.error
    assert document.error == job.error
    assert document.status == "ready"
    held = DocumentRevision.objects.get(state="review").held_back
    assert (held["before"], held["after"], held["limit"], held["questions"]) == (1.0, 0.5, 0.1, 2)
    assert [(one["query"], one["before"], one["after"]) for one in held["worse"]] == [(OTTERS, 1.0, 0.0)]
    assert titles(ask(OTTERS))[0] == "Otters"
    assert "lives on fish" in ask(OTTERS).passages[0].text


def test_so_does_a_document_that_crowds_the_right_one_out(knowledge):
    collection = gated(limit=0.0)
    document, job = put(collection, distractors(), source="crayfish.md", bench=RealBench())
    assert (job.error_code, document.revision, document.status) == ("held_back", 0, "pending")
    worse = DocumentRevision.objects.get(state="review").held_back["worse"]
    assert [one["query"] for one in worse] == [OTTERS]
    assert worse[0]["found"] == ["What does the otter live on?"] * 5
    assert not Chunk.objects.findable().filter(document=document).exists()


def test_what_the_collection_allows_goes_live(knowledge):
    collection = gated(limit=0.5)
    document, job = spoilt(collection)
    assert (job.state, document.revision) == ("done", 2)


def test_what_makes_nothing_worse_goes_live_without_being_measured(knowledge, caplog):
    collection = gated(limit=0.0)
    with caplog.at_level("DEBUG", "knowledge"):
        document, job = put(collection, text_of("Screws are made of steel.", title="Screws"), bench=RealBench())
    assert (job.state, document.revision) == ("done", 1)
    assert "questions=2 measured=0" in caplog.text
    assert not DocumentRevision.objects.exclude(held_back={}).exists()


def test_one_question_got_better_for_the_one_that_got_worse(knowledge):
    collection = gated(limit=0.2)
    heron = collection.documents.get(source="heron.md")
    GoldenQuery.objects.create(collection=collection, query="Which pump needs oil?").documents.add(heron)
    bees = collection.documents.get(source="bee.md")
    GoldenQuery.objects.filter(query=BEES).first().documents.set([heron])
    assert bees.revision == 1
    text = "# Herons\n\nWhoever stores nectar for the winter needs a pump with oil every two weeks."
    document, job = put(collection, text, source="heron.md", bench=RealBench())
    assert (job.state, document.revision) == ("done", 2)


def test_answers_count_as_documents_do(knowledge):
    collection = gated(limit=0.2)
    GoldenQuery.objects.all().delete()
    GoldenQuery.objects.create(collection=collection, query="QX-4411", answers=["part number qx-4411"])
    _, job = spoilt(collection, "# Zinc\n\nZinc is a metal.", source="engine.md")
    assert job.error_code == "held_back"
    assert "from 1.000 to 0.000" in job.error


@pytest.mark.parametrize("mode", ["text", "vector"])
def test_it_looks_where_the_collection_is_searched(mode, knowledge):
    _, job = spoilt(gated(mode=mode))
    assert job.error_code == "held_back"


def test_it_is_published_all_the_same(knowledge):
    collection = gated()
    spoilt(collection)
    revision = DocumentRevision.objects.get(state="review")
    with pytest.raises(BadRequest, match="Say why it is published although"):
        revision_approve(revision=revision, reviewer=SOMEBODY)
    job = RealBench().run(revision_approve(revision=revision, reviewer=SOMEBODY, note="The old text was wrong."))
    assert job.state == "done"
    document = Document.objects.get(source="otter.md")
    assert (document.revision, document.error) == (2, "")
    revision.refresh_from_db()
    assert (revision.state, revision.review_note) == ("live", "The old text was wrong.")
    assert revision.held_back["worse"]


def test_it_is_discarded(knowledge):
    collection = gated()
    spoilt(collection)
    revision_reject(revision=DocumentRevision.objects.get(state="review"), reviewer=SOMEBODY, note="No.")
    assert not Chunk.objects.filter(state="staged").exists()
    assert Document.objects.get(source="otter.md").error == ""
    assert titles(ask(OTTERS))[0] == "Otters"


def test_a_newer_version_takes_the_place_of_one_that_is_held_back(knowledge):
    collection = gated()
    spoilt(collection)
    document, job = spoilt(collection, ANIMALS["otter.md"] + " It sleeps by day.")
    assert (job.state, document.error) == ("done", "")
    assert not DocumentRevision.objects.filter(state="review").exists()


def test_what_is_approved_passes_the_gate_as_well(knowledge):
    collection = gated()
    Collection.objects.filter(pk=collection.pk).update(review=True)
    _, job = spoilt(collection)
    assert (job.state, job.result) == ("done", "review")
    revision = DocumentRevision.objects.get(state="review")
    job = RealBench().run(revision_approve(revision=revision, reviewer=SOMEBODY))
    assert (job.state, job.error_code) == ("failed", "held_back")
    revision.refresh_from_db()
    assert (revision.state, revision.reviewed_at) == ("review", None)
    assert revision.held_back["worse"]


def test_without_a_gate_or_golden_queries_nothing_is_measured(knowledge, caplog):
    collection = gated(limit=None)
    with caplog.at_level("DEBUG", "knowledge"):
        assert spoilt(collection)[1].state == "done"
        Collection.objects.update(gate=0.0)
        GoldenQuery.objects.all().delete()
        assert RealBench().run(document_reingest(document=Document.objects.first()).job).state == "done"
    assert "gate slug" not in caplog.text
    assert IngestionJob.objects.filter(error_code="held_back").count() == 0


def test_what_is_estimated_is_what_is_measured(knowledge, monkeypatch):
    """Whatever a change did to any question was foreseen: the questions left out are answered as before."""
    collection = gated(limit=1.0)
    for number, query in enumerate(("oil for the engine", "motionless in the water", "a mammal in rivers", "winter")):
        source = list(ANIMALS)[number]
        GoldenQuery.objects.create(collection=collection, query=query).documents.add(
            collection.documents.get(source=source)
        )
    seen = []

    def told(standing, incoming, meanings):
        seen.append((standing.question.query, standing.recall, may_change(standing, incoming, meanings)))
        return seen[-1][2]

    monkeypatch.setattr(gates, "may_change", told)
    changes = {
        "otters2.md": distractors(),
        "screw.md": text_of("Screws are made of steel.", title="Screws"),
        "bee.md": "# Wasps\n\nA colony of wasps stores nothing.",
        "river.md": "# Rivers\n\nThe otter and every other mammal that swims in rivers is motionless in winter.",
        "engine.md": "# Engines\n\nOil is for the engine what nectar is for bees in winter.",
    }
    for source, text in changes.items():
        seen.clear()
        put(collection, text, source=source, bench=RealBench())
        gates._standings.clear()
        put(collection, "# Nothing\n\nZinc.", source="probe.md", bench=RealBench(), again=True)
        half = len(seen) // 2
        before, after = seen[:half], seen[half:]
        for (query, recall, foreseen), (same, recall_now, _) in zip(before, after, strict=True):
            assert query == same
            assert foreseen or recall_now >= recall, (source, query)
