from knowledge.passages import Passage
from knowledge.repeats import without_repeats


def passage(chunk, text):
    return Passage(chunk=chunk, document=1, revision=1, ordinal=chunk, collection="c", title="t", source="s", text=text)


LONG = "The gateway answers every request of every client with the expert that suits it best of all the experts. " * 3


def test_the_better_one_of_two_that_say_the_same_stays():
    found, dropped = without_repeats([passage(1, LONG), passage(2, LONG.upper() + " Yes."), passage(3, "Else.")], 5)
    assert [one.chunk for one in found] == [1, 3]
    assert dropped == 1


def test_what_shares_a_subject_is_not_the_same():
    texts = ["The pump needs oil every week.", "The pump needs water every week.", "Oil", "Water"]
    found, dropped = without_repeats([passage(number, text) for number, text in enumerate(texts)], 5)
    assert len(found) == 4
    assert dropped == 0


def test_no_more_than_wanted():
    found, dropped = without_repeats([passage(number, f"Text {number}") for number in range(9)], 3)
    assert [one.chunk for one in found] == [0, 1, 2]
    assert dropped == 0
