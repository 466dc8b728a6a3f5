import pytest

from routing.backends.protocol import Message, Text
from routing.tokens import Calibration, estimate, estimate_text


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("The quick brown fox jumps over the lazy dog. " * 20, 170, 270),
        ("def add(a, b):\n    return a + b\n" * 20, 140, 260),
        ("机器学习是人工智能的一个分支。" * 20, 180, 340),
        ("Машинное обучение — это раздел искусственного интеллекта. " * 10, 150, 320),
        ("", 0, 0),
    ],
)
def test_an_estimate_is_of_the_right_size(text, low, high):
    assert low <= estimate_text(text) <= high


def test_messages_cost_more_than_their_text():
    messages = [Message(role="user", parts=(Text(text="Hi"),))] * 10
    assert estimate(messages) > 10 * estimate_text("Hi") + 30


def test_nothing_is_refused_on_a_first_guess_that_is_half_wrong():
    assert Calibration().at_least(1000) == 500


def test_learns_a_models_own_way_of_counting():
    calibration = Calibration()
    for _ in range(10):
        calibration.learn(1000, 1500)
    assert 1400 <= calibration.likely(1000) <= 1500
    assert 1150 <= calibration.at_least(1000) <= 1400


def test_odd_counts_do_not_spoil_it():
    calibration = Calibration()
    for _ in range(10):
        calibration.learn(1000, 1000)
    calibration.learn(1000, 1)
    calibration.learn(3, 900)
    calibration.learn(1000, 0)
    assert calibration.likely(1000) > 850
