import pytest

from knowledge.fusion import Leg, fused, only_meaning, only_words
from knowledge.passages import Fusion

WORDS = Leg(scores={1: 8.0, 2: 4.0, 3: 2.0}, ranks={1: 1, 2: 2, 3: 3}, full=False)
MEANING = Leg(scores={1: 0.2, 2: 0.6, 3: 0.4, 4: 0.5}, ranks={2: 1, 4: 2, 3: 3})


def test_each_candidate_has_its_true_score_in_both_legs():
    found = fused(WORDS, MEANING, fusion=Fusion.NORMALISED, vector_weight=0.5)
    # 1 is not among the nearest, but its cosine was looked up: the lowest, so 0; its words are the best.
    assert found == pytest.approx({1: 0.5, 2: 0.5 * 0.5 + 0.5, 3: 0.25 * 0.5 + 0.5 * 0.5, 4: 0.5 * 0.75})


def test_the_weight_goes_from_words_alone_to_meaning_alone():
    assert fused(WORDS, MEANING, fusion=Fusion.NORMALISED, vector_weight=0.0)[1] == 1.0
    assert fused(WORDS, MEANING, fusion=Fusion.NORMALISED, vector_weight=1.0)[2] == 1.0


def test_a_full_list_of_words_has_its_last_one_as_floor():
    full = Leg(scores=WORDS.scores, ranks=WORDS.ranks, full=True)
    assert only_words(full) == pytest.approx({1: 1.0, 2: 2 / 6, 3: 0.0})
    assert only_words(WORDS) == pytest.approx({1: 1.0, 2: 0.5, 3: 0.25})


def test_one_hit_in_a_leg_does_not_break_the_other():
    one = Leg(scores={9: 3.0}, ranks={9: 1}, full=False)
    found = fused(one, MEANING, fusion=Fusion.NORMALISED, vector_weight=0.5)
    assert found[9] == 0.5
    assert max(found, key=found.get) in (2, 9)
    nothing = Leg(scores={}, ranks={}, full=False)
    assert fused(nothing, nothing, fusion=Fusion.NORMALISED, vector_weight=0.5) == {}
    assert fused(nothing, MEANING, fusion=Fusion.NORMALISED, vector_weight=0.5)[2] == 0.5


def test_reciprocal_ranks():
    found = fused(WORDS, MEANING, fusion=Fusion.RRF, vector_weight=0.5)
    assert found[2] == pytest.approx((61 / 62 + 1) / 2)
    assert found[4] == pytest.approx(0.5 * 61 / 62)
    assert max(found.values()) <= 1


def test_meaning_alone_keeps_the_order_of_cosines():
    assert only_meaning(MEANING) == pytest.approx({2: 1.0, 4: 0.5, 3: 0.0})
