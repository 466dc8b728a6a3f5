"""The admin's pages of evaluations, in process."""

import datetime as dt

import pytest
from django.utils import timezone

from knowledge.admin.plots import Point, over_time
from knowledge.models import EvaluationRun, GoldenQuery
from tests.knowledge.rows import collection_of, model_of, signed_in, words_of
from tests.knowledge.test_search import filled

pytestmark = pytest.mark.django_db

LIST = "/admin/knowledge/evaluationrun/"


def detail(number, recall, ndcg, title):
    row = {"id": number, "query": f"Question {number}?", "ms": 4.0, "mrr": ndcg, "ndcg_10": ndcg}
    found = [{"document": 1, "title": title, "right": recall > 0}]
    return row | {f"recall_{depth}": recall for depth in (1, 3, 5, 10)} | {"found": found}


def run_of(collection, details, **fields):
    measures = {"recall_5": sum(row["recall_5"] for row in details) / len(details), "ms_per_query": 4.0}
    given = {"queries": len(details), "measures": measures, "details": details, "settings": {"own": True}}
    return EvaluationRun.objects.create(
        collection=collection, embedding_model=collection.embedding_model, **given | fields
    )


def test_a_run_tells_what_each_question_found(admin_client):
    collection = collection_of()
    run = run_of(collection, [detail(1, 1.0, 1.0, "Leave"), detail(2, 0.0, 0.0, "Travel")], reason="before the move")
    assert "before the move 2 MRR" not in words_of(admin_client.get(LIST))
    assert "before the move 2 ms per query 4.000, recall@5 0.500" in words_of(admin_client.get(LIST))
    words = words_of(admin_client.get(f"{LIST}{run.pk}/change/"))
    assert "Question 2? 0.000 0.000 0.000 0.000 0.000 0.000 4 Travel" in words
    assert admin_client.get(f"{LIST}add/").status_code == 403


def test_two_runs_are_compared_question_by_question(admin_client):
    collection = collection_of()
    first = run_of(collection, [detail(1, 1.0, 1.0, "Leave"), detail(2, 0.0, 0.0, "Travel"), detail(3, 1.0, 0.5, "A")])
    second = run_of(collection, [detail(1, 0.0, 0.0, "Pay"), detail(2, 1.0, 1.0, "Trips"), detail(3, 1.0, 0.5, "A")])
    chosen = {"action": "compare", "_selected_action": [second.pk, first.pk]}
    response = admin_client.post(LIST, chosen, follow=True)
    words = words_of(response)
    assert response.redirect_chain[0][0] == f"{LIST}compare/?first={first.pk}&second={second.pk}"
    assert "1 answered better, 1 worse, 1 as before" in words
    assert "Answered better Question nDCG@10 Then Found first Then Question 2? 0.000 1.000 Travel Trips" in words
    assert "Question 1? 1.000 0.000 Leave Pay" in words
    assert admin_client.get(f"{LIST}compare/?first={first.pk}&second=x").status_code == 404
    told = admin_client.post(LIST, {"action": "compare", "_selected_action": [first.pk]}, follow=True)
    assert "Select two evaluations" in words_of(told)


def test_it_is_shown_over_time(admin_client):
    collection = collection_of()
    run_of(collection, [detail(1, 1.0, 1.0, "Leave")])
    run_of(collection, [detail(1, 0.0, 0.0, "Leave")], settings={"mode": "text"})
    later = run_of(collection, [detail(1, 0.0, 0.0, "Leave")])
    page = admin_client.get(f"{LIST}over-time/{collection.pk}/")
    assert [plot.title for plot in page.context["plots"]] == ["recall@5"]
    assert len(page.context["plots"][0].dots) == len(page.context["runs"]) == 2
    assert page.context["runs"][0][0] == later
    assert "Compare with the one before" in words_of(admin_client.get(f"{LIST}{later.pk}/change/"))
    assert "was not measured yet" in words_of(admin_client.get(f"{LIST}over-time/{collection_of('new').pk}/"))


def test_a_plot_names_the_models_where_they_change():
    at = timezone.make_aware(dt.datetime(2026, 5, 1))
    points = [Point(at=at, model=model, measures={"mrr": value}) for model, value in (("a", 0.5), ("a", 0.6), ("b", 1))]
    plot = over_time([*points, Point(at=at, model="b", measures={})], "mrr", "MRR")
    assert [dot.label for dot in plot.dots] == ["a", "", "b"]
    assert float(plot.dots[0].y) > float(plot.dots[2].y)
    assert over_time([], "mrr", "MRR") is None


@pytest.mark.django_db(transaction=True)
def test_a_collection_is_measured_at_a_button(admin_client, transactional_db):
    collection = filled()
    address = f"/admin/knowledge/collection/{collection.pk}/measure/"
    assert "has no golden queries" in words_of(admin_client.post(address, follow=True))
    GoldenQuery.objects.create(collection=collection, query="Who stores nectar?", answers=["honey bees"])
    words = words_of(admin_client.post(address, follow=True))
    assert "Who stores nectar? 1.000 1.000 1.000 1.000 1.000 1.000" in words
    assert EvaluationRun.objects.get().reason == "measured in admin"


def test_who_may_only_look_measures_nothing(client):
    collection = collection_of(embedding_model=model_of())
    signed_in(client, "view_evaluationrun", "view_collection")
    assert client.get(LIST).status_code == 200
    assert client.post(f"/admin/knowledge/collection/{collection.pk}/measure/").status_code == 403
