import io
import json

import pytest
from django.core.management import CommandError, call_command

from knowledge.embedding import MINILM, MULTILINGUAL
from knowledge.golden import WAYS_TRIED, golden_comparison
from knowledge.models import Collection, EmbeddingModel, EvaluationRun, GoldenQuery
from knowledge.switching import collection_fill
from tests.knowledge.test_search import RealBench, filled

pytestmark = pytest.mark.django_db(transaction=True)


def measured(*options):
    out = io.StringIO()
    call_command("evaluate_collection", "animals", *options, stdout=out)
    return out.getvalue()


def test_each_way_is_measured_on_the_collections_own_questions(transactional_db):
    collection = filled()
    bees = GoldenQuery.objects.create(collection=collection, query="Insect provisions against cold?")
    bees.documents.add(collection.documents.get(source="bee.md"))
    GoldenQuery.objects.create(collection=collection, query="QX-4411", answers=["part number  qx-4411"])
    GoldenQuery.objects.create(collection=collection, query="no answer is known to this one")
    printed = json.loads(measured("--json").splitlines()[-1])
    ways = printed["ways"]
    by_mode = {(way["mode"], way["fusion"], way["vector_weight"]): way for way in ways}
    assert len(ways) == 9
    assert by_mode["hybrid", "normalised", 0.5]["hit_10"] == 1.0
    # None of its words stands anywhere; that honey bees are insects, the vectors know.
    assert by_mode["text", "normalised", None]["missed"] == [bees.query]
    assert [way["ndcg_10"] for way in ways] == sorted((way["ndcg_10"] for way in ways), reverse=True)
    runs = EvaluationRun.objects.filter(collection=collection, reason=WAYS_TRIED)
    assert runs.count() == 9
    assert {run.queries for run in runs} == {2}
    assert runs.get(settings__mode="vector").measures["ndcg_10"] == by_mode["vector", "normalised", None]["ndcg_10"]
    own = EvaluationRun.objects.get(settings__own=True)
    assert (own.pk, own.measures, own.reason) == (printed["run"], printed["as_it_is"], "manage.py evaluate_collection")
    assert own.embedding_model == collection.embedding_model
    assert [row["query"] for row in own.details] == [bees.query, "QX-4411"]
    assert [row["recall_1"] for row in own.details] == [1.0, 1.0]
    assert own.details[0]["found"][0] == {
        "document": bees.documents.get().pk,
        "title": "Bees",
        "right": True,
    }


def test_the_best_way_can_be_taken(transactional_db):
    collection = filled()
    query = GoldenQuery.objects.create(collection=collection, query="Which insect makes provisions for the winter?")
    query.documents.add(collection.documents.get(source="bee.md"))
    before = (collection.mode, collection.fusion, collection.vector_weight)
    measured()
    collection.refresh_from_db()
    assert (collection.mode, collection.fusion, collection.vector_weight) == before
    printed = measured("--apply").splitlines()
    collection.refresh_from_db()
    best = printed[1].split()
    assert [collection.mode, collection.fusion] == best[:2]
    assert "in the first way now" in printed[-1]
    assert "as it is searched, on 1 golden queries: recall@1 1.0000" in printed[-2]


def test_another_model_is_compared_on_the_same_questions(knowledge):
    collection = filled()
    for query, source in (("Who stores nectar?", "bee.md"), ("Part number QX-4411", "engine.md")):
        GoldenQuery.objects.create(collection=collection, query=query).documents.add(
            collection.documents.get(source=source)
        )
    with pytest.raises(CommandError, match="4 chunks have no vector by"):
        measured("--against", MULTILINGUAL)
    multilingual = EmbeddingModel.objects.get(name=MULTILINGUAL)
    RealBench().run(collection_fill(collection=collection, model=multilingual))
    told = json.loads(measured("--against", MULTILINGUAL, "--reason", "a try", "--json").splitlines()[-1])
    now, then = (EvaluationRun.objects.get(pk=pk) for pk in told["runs"])
    assert (now.embedding_model.name, then.embedding_model.name) == (MINILM, MULTILINGUAL)
    assert {now.reason, then.reason} == {"a try"}
    assert (told["queries"], told["measures"]["recall_5"]["now"]) == (2, 1.0)
    assert golden_comparison(Collection.objects.get(), multilingual) == (now, then)
    assert "Of 2 questions" in measured("--against", MULTILINGUAL)


def test_golden_queries_go_round_by_a_file(knowledge, tmp_path):
    collection = filled()
    GoldenQuery.objects.create(collection=collection, query="Who stores nectar?").documents.add(
        collection.documents.get(source="bee.md")
    )
    out = io.StringIO()
    call_command("golden_queries", "animals", stdout=out)
    line = {"query": "Who stores nectar?", "documents": ["bee.md"], "answers": []}
    assert json.loads(out.getvalue()) == line
    file = tmp_path / "golden.jsonl"
    file.write_text(out.getvalue() + json.dumps(line | {"query": "Why?", "documents": ["otter.md", "gone.md"]}))
    out = io.StringIO()
    call_command("golden_queries", "animals", "--import", str(file), stdout=out)
    assert out.getvalue().splitlines() == [
        "1 new, 0 changed, 1 as they were.",
        "there is no document 'gone.md' in the collection",
    ]
    file.write_text('{"query": "Why?", "documents": "otter.md"}')
    with pytest.raises(CommandError, match="Line 1: 'documents' must be a list of texts"):
        call_command("golden_queries", "animals", "--import", str(file))


def test_what_is_missing_is_said(transactional_db):
    with pytest.raises(CommandError, match="There are: none yet"):
        measured()
    filled()
    with pytest.raises(CommandError, match="no golden queries"):
        measured()
