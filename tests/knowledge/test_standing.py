"""Which golden questions a change may make worse, foreseen from how they stood."""

import time
from array import array

import pytest

from knowledge.embedding import ModelSpec
from knowledge.fusion import Leg
from knowledge.judging import Question
from knowledge.passages import Fusion, Mode
from knowledge.postings import ChunkTerms
from knowledge.ranking import LEG, Plan
from knowledge.standing import Incoming, Standing, may_change, word_scores

SPEC = ModelSpec(id=1, name="words", in_process=True, dimensions=2, max_tokens=100)
RIGHT = 7


def leg(scores):
    order = sorted(scores, key=lambda chunk: (-scores[chunk], chunk))
    return Leg(scores=scores, ranks={chunk: rank for rank, chunk in enumerate(order, 1)}, full=len(order) >= LEG)


def standing(*, text=None, vector=None, ranked=(RIGHT,), fusion=Fusion.NORMALISED, **question):
    """Return a question that chunk 7 answers, above 8 and 9 in both legs."""
    asked = {"query": "Why?", "documents": frozenset({70})} | question
    return Standing(
        question=Question(**asked),
        plan=Plan(mode=Mode.HYBRID, fusion=fusion, vector_weight=0.5, limit=10, vectors={SPEC: [1.0, 0.0]}),
        text=leg(text or {7: 9.0, 8: 4.0, 9: 1.0}),
        vector=leg(vector or {7: 0.9, 8: 0.5, 9: 0.1}),
        weights={1: 4.0, 2: 2.0},
        average=10.0,
        ranked=ranked,
        recall=1.0 if ranked else 0.0,
        at=time.monotonic(),
    )


def terms(frequencies, length=10):
    return ChunkTerms(numbers=array("i", frequencies), frequencies=array("h", frequencies.values()), length=length)


def incoming(*, coming=None, gone=(), texts=("A text.",), document=99):
    found = {chunk: terms(frequencies) for chunk, frequencies in (coming or {}).items()}
    return Incoming(document=document, terms=found, texts=texts, gone=frozenset(gone))


def test_what_has_nothing_to_do_with_it_changes_nothing():
    assert not may_change(standing(), incoming(coming={20: {5: 3}}), {})
    assert not may_change(standing(), incoming(gone=[300]), {})


@pytest.mark.parametrize("fusion", Fusion)
def test_what_comes_above_the_right_passage_may_make_it_worse(fusion):
    question = standing(fusion=fusion)
    assert may_change(question, incoming(coming={20: {1: 30, 2: 30}}), {20: 0.95})
    assert not may_change(question, incoming(coming={20: {2: 1}}), {20: 0.2})


def test_what_comes_below_the_last_right_passage_does_not():
    both = standing(ranked=(RIGHT, 8))
    assert may_change(both, incoming(coming={20: {1: 2}}), {20: 0.7})
    assert not may_change(standing(), incoming(coming={20: {1: 2}}), {20: 0.7})


def test_the_right_passage_may_go():
    assert may_change(standing(), incoming(gone=[RIGHT]), {})
    assert not may_change(standing(), incoming(gone=[9]), {})


def test_a_question_that_nothing_answers_cannot_get_worse():
    unanswered = standing(ranked=())
    assert not may_change(unanswered, incoming(coming={20: {1: 30}}, gone=[7]), {20: 0.99})


def test_what_may_answer_it_is_looked_at():
    assert may_change(standing(ranked=()), incoming(document=70), {})
    answers = standing(ranked=(), documents=frozenset(), answers=("thirty days",))
    assert may_change(answers, incoming(texts=["It is  Thirty\nDays."]), {})
    assert not may_change(answers, incoming(texts=["It is ten days."]), {})


def test_words_count_as_in_the_search_and_only_above_the_floor():
    many = {chunk: 3.0 + chunk / 100 for chunk in range(LEG)}
    full = standing(text=many)
    scores = word_scores(full, {20: terms({1: 1, 9: 4}), 21: terms({2: 1})})
    # 4 · 1 · 2.2 / (1 + 1.2), at the average length.
    assert scores == {20: pytest.approx(4.0)}
    assert word_scores(standing(), {21: terms({2: 1})}) == {21: pytest.approx(2.0)}
