"""Search over documents that were really read and embedded, by the models of this process."""

import asyncio

import pytest

from knowledge import search as searching
from knowledge.access import EVERYTHING, Access
from knowledge.collections import collection_create
from knowledge.documents import document_delete, document_update
from knowledge.embedding import MINILM, MULTILINGUAL, embedder_of
from knowledge.equipment import Equipment
from knowledge.exceptions import CollectionNotFound, EmbeddingFailed, InvalidSearch
from knowledge.models import Collection, EmbeddingModel, Grant
from knowledge.passages import Fusion, Mode, SearchRequest
from knowledge.search import chunks_ranked, compared, search
from knowledge.web import Web
from routing.backends.fetch import Allowed
from tests.knowledge.library import Bench, put, read_here

pytestmark = pytest.mark.django_db(transaction=True)


class RealBench(Bench):
    def equipment(self):
        return Equipment(parse=read_here, embedder=embedder_of, web=Web(Allowed()))


ANIMALS = {
    "otter.md": "# Otters\n\nThe otter is a mammal that swims in rivers and lives on fish.",
    "heron.md": "# Herons\n\nThe grey heron stands motionless in shallow water until prey comes near.",
    "bee.md": "# Bees\n\nA colony of honey bees stores nectar for the winter.",
    "engine.md": "# Engines\n\nThe pump of the engine needs oil every two weeks. Part number QX-4411.",
}


def filled(slug="animals", documents=ANIMALS, **fields):
    collection = collection_create(slug=slug, **({"language": "en"} | fields))
    for source, text in documents.items():
        put(collection, text, source=source, bench=RealBench())
    return collection


def ask(query, *, access=EVERYTHING, **wishes):
    return asyncio.run(search(SearchRequest(query=query, **wishes), access=access))


def titles(retrieval):
    return [passage.title for passage in retrieval.passages]


def test_what_is_meant_is_found_without_its_words(transactional_db):
    filled()
    found = ask("Which insect makes provisions for the cold season?")
    assert titles(found)[0] == "Bees"
    passage = found.passages[0]
    assert passage.vector_rank == 1
    assert passage.similarity > 0.2
    assert found.collections == ("animals",)
    assert [step.name for step in found.steps] == ["collections", "embedding", "meaning", "words", "fusion"]


def test_what_has_no_meaning_is_found_by_its_words(transactional_db):
    filled()
    found = ask("QX-4411")
    assert titles(found)[0] == "Engines"
    assert found.passages[0].text_rank == 1


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("fusion", Fusion)
def test_every_mode_finds_the_otter(mode, fusion, transactional_db):
    filled()
    found = ask("What does the otter live on?", mode=mode, fusion=fusion, top_k=2)
    assert titles(found)[0] == "Otters"
    assert (found.passages[0].similarity is None) is (mode is Mode.TEXT)
    assert (found.passages[0].text_score is None) is (mode is Mode.VECTOR)
    assert 0 < found.passages[0].score <= 1


def test_strength_tells_good_evidence_from_none(transactional_db):
    filled()
    good = ask("How often does the pump of the engine need oil?")
    none = ask("What was the exchange rate of the Danish crown in 1931?")
    assert good.strength > 0.7
    assert not good.weak
    assert none.strength < 0.3
    assert none.weak


def test_chinese_and_german_in_one_collection(transactional_db):
    documents = {
        "zh.md": "长城位于中国北部,建于两千多年前。",
        "de.md": "Die Häuser am Hafen wurden im Jahr 1720 nach einem Brand neu errichtet.",
        "en.md": "The lighthouse keeper retired after forty years of service.",
    }
    collection = filled("mixed", documents, language="")
    collection.refresh_from_db()
    assert collection.embedding_model.name == MULTILINGUAL
    assert {"zh", "de", "en"} <= {*collection.languages}
    for question, source in (
        ("长城在哪里?", "zh"),
        ("Wann wurde das Haus am Hafen gebaut?", "de"),
        ("lighthouse", "en"),
    ):
        assert ask(question).passages[0].source == f"{source}.md"
    # Across languages it is the meaning alone.
    across = ask("When were the houses at the harbour built?", mode=Mode.VECTOR)
    assert across.passages[0].source == "de.md"


def test_collections_of_different_models_are_searched_together(transactional_db):
    filled("english")
    filled("deutsch", {"biene.md": "# Bienen\n\nEin Bienenvolk sammelt Nektar für den Winter."}, language="de")
    assert {MINILM, MULTILINGUAL} == {
        *EmbeddingModel.objects.filter(collections__isnull=False).values_list("name", flat=True)
    }
    found = ask("What do bees store for the winter?", top_k=4)
    assert {*titles(found)[:2]} == {"Bees", "Bienen"}
    assert set(found.collections) == {"english", "deutsch"}


def test_who_may_not_read_a_collection_does_not_find_it(transactional_db):
    from gateway.models import ApiKey

    filled("open", {"a.md": "The cellar key hangs behind the door."})
    filled("closed", {"b.md": "The cellar key is under the mat."}, everyone=Collection.Everyone.NOTHING)
    key, _ = ApiKey.objects.issue(name="reader", group="staff")
    stranger, reader = Access(), Access(key_id=key.pk, group="staff")
    assert ask("cellar key", access=stranger).collections == ("open",)
    with pytest.raises(CollectionNotFound, match="no collection 'closed'"):
        ask("cellar key", collections=("closed",), access=stranger)
    grant = Grant.objects.create(collection=Collection.objects.get(slug="closed"), group="staff")
    assert len(ask("cellar key", access=reader).passages) == 2
    grant.delete()
    with pytest.raises(CollectionNotFound):
        ask("cellar key", collections=("open", "closed"), access=reader)


def test_what_is_disabled_or_deleted_is_not_found(transactional_db):
    collection = filled()
    otter = collection.documents.get(source="otter.md")
    document_update(document=otter, enabled=False)
    assert "Otters" not in titles(ask("otter"))
    document_update(document=otter, enabled=True)
    assert titles(ask("otter"))[0] == "Otters"
    document_delete(document=otter)
    assert "Otters" not in titles(ask("otter", top_k=50))


def test_filters(transactional_db):
    collection = collection_create(slug="notes", language="en")
    for year in (2023, 2024, 2025):
        put(
            collection,
            f"The meeting of {year} agreed on tea.",
            source=f"{year}.md",
            metadata={"year": year},
            bench=RealBench(),
        )
    found = ask("meeting tea", filters={"type": "gte", "key": "year", "value": 2024}, top_k=10)
    assert {passage.metadata["year"] for passage in found.passages} == {2024, 2025}
    assert not ask("meeting tea", filters={"year": 1999}).passages
    with pytest.raises(InvalidSearch, match="filters"):
        ask("meeting tea", filters={"type": "near", "key": "year", "value": 3})


def test_the_same_text_twice_is_shown_once(transactional_db):
    text = "The warranty covers the motor for five years and the battery for two years, from the day of purchase."
    filled("manuals", {"a.md": text, "b.md": text, "c.md": "The motor is made of steel and weighs two kilograms."})
    found = ask("How long does the warranty cover the motor?", top_k=3)
    assert len(found.passages) == 2
    assert any("said the same" in note for note in found.notes)


def test_neighbours_come_along(transactional_db):
    paragraphs = "\n\n".join(f"Paragraph {n}: {'word ' * 28} topic{n}." for n in range(6))
    filled("long", {"a.md": paragraphs}, chunk_tokens=64, chunk_overlap=0)
    found = ask("topic3", neighbours=1, top_k=1)
    (passage,) = found.passages
    assert "topic3" in passage.text
    assert passage.before
    assert passage.after
    assert "topic3" not in passage.before + passage.after


def test_without_its_embedder_words_still_find(transactional_db, monkeypatch):
    filled()

    def broken(spec):
        raise EmbeddingFailed("The model is gone.")

    monkeypatch.setattr(searching, "embedder_of", broken)
    found = ask("otter")
    assert titles(found)[0] == "Otters"
    assert found.notes[0].startswith(f"Searched by words alone: the embedding model '{MINILM}' does not answer.")
    with pytest.raises(EmbeddingFailed):
        ask("otter", mode=Mode.VECTOR)


def test_nothing_to_search_is_said(transactional_db):
    assert ask("anything").notes == ("There is no collection you may read.",)
    collection_create(slug="empty")
    found = ask("anything", collections=("empty",))
    assert found.notes == ("These collections hold nothing yet.",)
    assert found.weak


@pytest.mark.parametrize(
    ("wishes", "problem"),
    [
        ({"query": "  "}, "is empty"),
        ({"query": "x" * 8001}, "8,001 characters"),
        ({"query": "x", "top_k": 0}, "top_k"),
        ({"query": "x", "top_k": 201}, "top_k"),
        ({"query": "a\x00b"}, "U\\+0000"),
        ({"query": "a\ud83db"}, "half of a pair"),
    ],
)
def test_bad_questions_are_refused_with_what_to_do(wishes, problem, transactional_db):
    with pytest.raises(InvalidSearch, match=problem):
        asyncio.run(search(SearchRequest(**wishes), access=EVERYTHING))


def test_the_comparison_shows_both_rankings(transactional_db):
    filled()
    found = asyncio.run(compared(SearchRequest(query="otter water", top_k=1), access=EVERYTHING))
    assert len(found.retrieval.passages) == 1
    assert len(found.candidates) == 4
    assert {one.vector_rank for one in found.candidates} == {1, 2, 3, 4}
    assert [one.score for one in found.candidates] == sorted((one.score for one in found.candidates), reverse=True)


def test_more_wordings_of_a_question_are_searched_too(transactional_db):
    filled()
    alone = asyncio.run(chunks_ranked(SearchRequest(query="And how often?"), access=EVERYTHING))
    request = SearchRequest(query="And how often?", also=("The engine's pump needs oil. And how often?",))
    found = asyncio.run(search(request, access=EVERYTHING))
    assert titles(found)[0] == "Engines"
    assert len(alone) == 4


def test_a_threshold_leaves_out_what_is_below_it(transactional_db):
    filled()
    assert len(ask("otter", top_k=4).passages) == 4
    assert titles(ask("otter", top_k=4, threshold=0.6)) == ["Otters"]
