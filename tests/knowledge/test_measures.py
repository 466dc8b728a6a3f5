import math

import pytest

from knowledge.measures import ndcg, recall, reciprocal_rank


def test_ndcg_by_hand():
    # Gains 1 at ranks 1 and 3 of three relevant ones: the best order has them at 1, 2 and 3.
    found = 1 + 1 / math.log2(4)
    best = 1 + 1 / math.log2(3) + 1 / math.log2(4)
    assert ndcg(["a", "x", "b"], {"a": 1, "b": 1, "c": 1}, 10) == pytest.approx(found / best)


@pytest.mark.parametrize(
    ("ranked", "relevant", "depth", "expected"),
    [
        (["a", "b"], {"a": 1, "b": 1}, 10, 1.0),
        (["x"] * 10 + ["a"], {"a": 1}, 10, 0.0),
        ([], {"a": 1}, 10, 0.0),
        (["a"], {}, 10, 0.0),
        (["b", "a"], {"a": 2, "b": 1}, 10, (1 + 2 / math.log2(3)) / (2 + 1 / math.log2(3))),
    ],
)
def test_ndcg(ranked, relevant, depth, expected):
    assert ndcg(ranked, relevant, depth) == pytest.approx(expected)


def test_recall_and_reciprocal_rank():
    assert recall(["a", "x", "b"], {"a": 1, "b": 1, "c": 1}, 2) == pytest.approx(1 / 3)
    assert recall(["a"], {"a": 0}, 10) == 0
    assert reciprocal_rank(["x", "a"], {"a": 1}) == 0.5
    assert reciprocal_rank(["x"], {"a": 1}) == 0
