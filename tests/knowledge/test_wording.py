import math

import pytest
from django.db import connection

from knowledge import wording
from knowledge.models import Collection, Posting
from knowledge.terms import number_of
from knowledge.wording import K1, MOST_POSTINGS, B, rarity, worded_like
from tests.knowledge.library import put, shelf

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _nothing_remembered():
    wording._remembered.clear()


def search(question, collection, *, limit=10, language="en", **options):
    collection.refresh_from_db()
    return worded_like(
        {language: (question,)},
        collections=[collection.pk],
        chunks=collection.chunk_count,
        terms=collection.term_count,
        limit=limit,
        **options,
    )


def sources(found):
    from knowledge.models import Chunk

    names = dict(Chunk.objects.values_list("pk", "document__source"))
    return [names[chunk] for chunk in sorted(found.leg.ranks, key=found.leg.ranks.get)]


@pytest.fixture
def animals(transactional_db):
    collection = shelf("animals", embed_headings=False)
    for number in range(12):
        put(collection, f"Filler number {number} speaks of the weather in the valley.", source=f"filler{number}.md")
    put(collection, "The otter swims in the river and eats fish. Otters play.", source="otter.md")
    put(collection, "The heron stands in the river.", source="heron.md")
    return collection


def test_rare_words_decide_and_common_ones_count_nothing(animals):
    found = search("Where does the otter swim in the river?", animals)
    assert sources(found)[:2] == ["otter.md", "heron.md"]
    assert all(name.startswith("filler") for name in sources(found)[2:])


def test_scores_are_bm25(animals):
    """Against the formula computed by hand from the postings."""
    found = search("otters", animals)
    (chunk,) = found.leg.ranks
    posting = Posting.objects.get(chunk=chunk, term=number_of("otter"))
    assert posting.frequency == 4  # twice in the text, and its title counts double
    animals.refresh_from_db()
    average = animals.term_count / animals.chunk_count
    idf = math.log((14 + 20 - 1 + 0.5) / 1.5)
    expected = idf * 4 * (K1 + 1) / (4 + K1 * (1 - B + B * posting.length / average))
    assert found.leg.scores[chunk] == pytest.approx(expected)
    assert not found.leg.full


def test_the_scores_of_others_are_told_whatever_their_rank(animals):
    everything = search("the river in the valley", animals, limit=100)
    best, *_, last = sorted(everything.leg.ranks, key=everything.leg.ranks.get)
    found = search("the river in the valley", animals, limit=1, also=[last])
    assert list(found.leg.ranks) == [best]
    assert found.leg.full
    assert found.leg.scores == pytest.approx({best: everything.leg.scores[best], last: everything.leg.scores[last]})


def test_coverage_is_the_share_of_the_questions_weight(animals):
    found = search("otter zebra", animals)
    (chunk,) = found.leg.ranks
    assert found.coverage[chunk] == pytest.approx(rarity(1, 14) / (rarity(1, 14) + rarity(0, 14)))


def test_terms_beyond_the_budget_only_add_to_what_was_found(animals, monkeypatch):
    whole = search("otter in the river valley weather", animals)
    monkeypatch.setattr(wording, "MOST_POSTINGS", 1)
    short = search("otter in the river valley weather", animals)
    assert MOST_POSTINGS > 1
    (chunk,) = short.leg.ranks
    assert sources(short) == ["otter.md"]
    assert short.leg.scores[chunk] == pytest.approx(whole.leg.scores[chunk])


def test_a_filter_is_kept(animals):
    (keep,) = animals.documents.filter(source="heron.md")
    only = f"SELECT id FROM knowledge_chunk WHERE document_id = {keep.pk}"
    assert sources(search("river", animals, only=only)) == ["heron.md"]


def test_words_that_stand_nowhere_find_nothing(animals):
    assert not search("xylophone", animals).leg.ranks
    assert not search("?!", animals).leg.ranks
    assert not search("the", shelf("empty")).leg.ranks


def test_a_collection_of_one_chunk_is_found_by_its_words(transactional_db):
    collection = shelf("one")
    put(collection, "Nothing but a single note about tea.", source="tea.md")
    assert sources(search("tea", collection)) == ["tea.md"]


@pytest.mark.parametrize(
    ("language", "text", "question"),
    [
        ("de", "Die Häuser wurden im Sommer gestrichen.", "Wann wurde das Haus gestrichen?"),
        ("zh", "长城位于中国北部。", "长城在哪里"),
        ("ar", "وُلِدَ الشاعر في مدينة بغداد القديمة.", "أين ولد الشاعر؟"),
        ("ru", "Писатель родился в Москве.", "Где родились писатели?"),
        ("th", "กรุงเทพเป็นเมืองหลวงของประเทศไทย", "เมืองหลวงของไทย"),
    ],
)
def test_languages(language, text, question, transactional_db):
    collection = shelf(f"in-{language}", language=language)
    put(collection, text, source="right.md")
    assert sources(search(question, collection, language=language)) == ["right.md"]


def test_postings_are_read_from_the_index_alone(animals):
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE knowledge_posting")
        cursor.execute("SET enable_seqscan = off")
        try:
            cursor.execute(
                "EXPLAIN SELECT chunk_id, frequency, length FROM knowledge_posting "
                "WHERE collection_id = %s AND term = ANY(%s::int[])",
                [animals.pk, [1, 2]],
            )
            plan = "\n".join(row[0] for row in cursor.fetchall())
        finally:
            cursor.execute("RESET enable_seqscan")
    assert "Index Only Scan" in plan


def test_counts_are_made_anew_when_a_collection_has_grown(animals):
    search("kingfisher", animals)
    for number in range(3):
        put(animals, "The kingfisher dives. " * 4, source=f"kingfisher{number}.md")
    assert len(search("kingfisher", animals).leg.ranks) == 3
    assert Collection.objects.get(pk=animals.pk).chunk_count == 17
