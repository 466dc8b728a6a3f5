"""What is different between two versions, as people are shown it."""

import pytest

from knowledge.curation.differences import Change, Text, differences, words_compared


def texts(*given):
    return [Text(text=text) for text in given]


def told(old, new):
    return [
        (one.change.value, one.old and one.old.text, one.new and one.new.text)
        for one in differences(texts(*old), texts(*new))
    ]


def test_chunks_stay_change_come_and_go():
    old = ["One is here.", "Two is changed once a year.", "Three goes."]
    new = ["Zero comes first of all.", "One is here.", "Two is changed twice a year."]
    assert told(old, new) == [
        ("added", None, "Zero comes first of all."),
        ("same", "One is here.", "One is here."),
        ("changed", "Two is changed once a year.", "Two is changed twice a year."),
        ("removed", "Three goes.", None),
    ]


def test_what_is_added_between_changed_ones_stands_between_them():
    old, new = ["Oil is changed once.", "Tyres are black."], ["Oil is changed twice.", "Xyz qqq!", "Tyres are grey."]
    assert [change for change, _, _ in told(old, new)] == ["changed", "added", "changed"]


def test_what_is_disabled_or_under_another_heading_is_a_change():
    old, new = [Text(text="Same.", heading="A")], [Text(text="Same.", heading="B", enabled=False)]
    (one,) = differences(old, new)
    assert (one.change, one.words[0].change, len(one.words)) == (Change.CHANGED, Change.SAME, 1)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("Once a year.", "Twice a year.", [("removed", "Once"), ("added", "Twice"), ("same", " a year.")]),
        ("同じ文です。", "同じ本です。", [("same", "同じ"), ("removed", "文"), ("added", "本"), ("same", "です。")]),
        ("", "New.", [("added", "New.")]),
        ("Same.", "Same.", [("same", "Same.")]),
    ],
)
def test_words_are_told_apart(old, new, expected):
    assert [(one.change.value, one.text) for one in words_compared(old, new)] == expected


def test_very_long_texts_are_not_compared_word_by_word():
    old, new = "a " * 3_000, "b " * 3_000
    assert [one.change.value for one in words_compared(old, new)] == ["removed", "added"]
