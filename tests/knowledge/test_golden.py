import io
import json

import pytest
from django.core.management import CommandError, call_command

from knowledge.models import EvaluationRun, GoldenQuery
from tests.knowledge.test_search import filled

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
    ways = json.loads(measured("--json").splitlines()[-1])["ways"]
    by_mode = {(way["mode"], way["fusion"], way["vector_weight"]): way for way in ways}
    assert len(ways) == 9
    assert by_mode["hybrid", "normalised", 0.5]["hit_10"] == 1.0
    # None of its words stands anywhere; that honey bees are insects, the vectors know.
    assert by_mode["text", "normalised", None]["missed"] == [bees.query]
    assert [way["ndcg_10"] for way in ways] == sorted((way["ndcg_10"] for way in ways), reverse=True)
    runs = EvaluationRun.objects.filter(collection=collection)
    assert runs.count() == 9
    assert {run.queries for run in runs} == {2}
    assert runs.get(settings__mode="vector").measures["ndcg_10"] == by_mode["vector", "normalised", None]["ndcg_10"]


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


def test_what_is_missing_is_said(transactional_db):
    with pytest.raises(CommandError, match="There are: none yet"):
        measured()
    filled()
    with pytest.raises(CommandError, match="no golden queries"):
        measured()
