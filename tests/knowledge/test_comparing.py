"""Two measurements of the same questions beside each other."""

import pytest

from knowledge.comparing import paired
from knowledge.judging import MEASURES, Question, judged, means
from knowledge.measures import interval
from knowledge.passages import Passage


def detail(number, value):
    return {"id": number, "query": f"{number}?", "ms": 1.0, "found": []} | dict.fromkeys(MEASURES, value)


def passage(document, text="", chunk=1):
    return Passage(
        chunk=chunk,
        document=document,
        revision=1,
        ordinal=0,
        collection="a",
        title=f"T{document}",
        source="s",
        text=text,
    )


def test_questions_are_paired_and_those_that_changed_most_come_first():
    first = [detail(1, 1.0), detail(2, 0.0), detail(3, 0.5), detail(4, 0.5), detail(9, 1.0)]
    second = [detail(4, 0.4), detail(1, 0.0), detail(2, 1.0), detail(3, 0.5), detail(8, 0.0)]
    found = paired(first, second)
    assert (found.questions, found.same) == (4, 1)
    assert [one.query for one in found.better] == ["2?"]
    assert [one.query for one in found.worse] == ["1?", "4?"]
    recall = found.differences[0]
    assert (recall.name, recall.first, recall.second) == ("recall_1", 0.5, pytest.approx(0.475))
    assert recall.low < recall.change < recall.high
    assert not recall.is_sure


def test_without_a_common_question_nothing_is_said():
    assert paired([detail(1, 1.0)], [detail(2, 1.0)]).differences == ()


def test_the_interval_narrows_with_what_is_known():
    assert interval([0.5]) == (-1.0, 1.0)
    assert interval([0.2] * 20) == (pytest.approx(0.2), pytest.approx(0.2))
    few, many = interval([1.0, 0.0, 0.0, 0.0] * 3), interval([1.0, 0.0, 0.0, 0.0] * 30)
    assert few[0] < many[0] < 0.25 < many[1] < few[1]
    assert interval([1.0, 0.0, -0.5]) == interval([1.0, 0.0, -0.5])


def test_a_question_is_judged_by_documents_or_answers():
    several = Question(query="?", documents=frozenset({1, 2}))
    found = judged(several, [passage(9), passage(1), passage(1, chunk=2), passage(2, chunk=3)], 3.0)
    shares = [found.measures[f"recall_{depth}"] for depth in (1, 3, 5, 10)]
    assert shares == [0.0, 0.5, 1.0, 1.0]
    assert (found.measures["mrr"], [right for *_, right in found.found]) == (0.5, [False, True, True, True])
    answer = Question(query="?", documents=frozenset(), answers=("thirty days",))
    held = judged(answer, [passage(1, "It is Thirty\n days."), passage(2, "thirty days")], 1.0)
    assert held.measures["recall_1"] == held.measures["ndcg_10"] == 1.0
    assert means([found, held])["recall_1"] == 0.5
    assert means([found, held])["ms_per_query"] == 2.0
