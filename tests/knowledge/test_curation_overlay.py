"""What people changed stays where it belongs, whatever becomes of the source around it."""

import pytest

from knowledge.blocks import Block, BlockKind
from knowledge.chunking import Cut, Piece, chunked
from knowledge.curation.edit import Edit, Original, Outcome
from knowledge.curation.overlay import overlay


def count(text):
    return len(text.split())


def pieces_of(*texts, heading="Chapter"):
    return [
        Piece(ordinal=ordinal, text=text, title="Manual", heading=heading, page=ordinal + 1, tokens=count(text))
        for ordinal, text in enumerate(texts)
    ]


def edit_of(pieces, first, *texts, last=None, number=1, enabled=True):
    """Make the edit that puts ``texts`` in the place of pieces ``first`` to ``last``."""
    last = first if last is None else last
    return Edit(
        id=number,
        originals=tuple(
            Original(text=piece.text, heading=piece.heading, page=piece.page) for piece in pieces[first : last + 1]
        ),
        outcomes=tuple(Outcome(text=text, enabled=enabled) for text in texts),
        before=pieces[first - 1].text if first else "",
        after=pieces[last + 1].text if last + 1 < len(pieces) else "",
        ordinal=first,
    )


def laid(pieces, *edits):
    """Return what is shown, with the number of the edit that each text is of, and how the edits fit."""
    overlaid = overlay(pieces, edits, count=count, headed=True)
    assert [piece.ordinal for piece in overlaid.pieces] == list(range(len(overlaid.pieces)))
    shown = [(piece.text, piece.edit) for piece in overlaid.pieces]
    return shown, {finding.edit: finding for finding in overlaid.findings}


ONE = "The engine has four cylinders and is cooled by water."
TWO = "Oil is changed once a year by a person who knows how."
THREE = "Tyres are looked at before every long journey, and in winter."
FOUR = "A warning lamp means that the car is stopped at once."


class TestTheSourceIsAsItWas:
    def test_a_text_takes_the_place_of_another(self):
        pieces = pieces_of(ONE, TWO, THREE)
        shown, found = laid(pieces, edit_of(pieces, 1, "Oil is changed twice."))
        assert shown == [(ONE, None), ("Oil is changed twice.", 1), (THREE, None)]
        assert not found[1].conflict

    def test_one_becomes_several_and_several_become_one(self):
        pieces = pieces_of(ONE, TWO, THREE, FOUR)
        split, merged = edit_of(pieces, 0, "Four.", "Water."), edit_of(pieces, 2, f"{THREE} {FOUR}", last=3, number=2)
        shown, _ = laid(pieces, split, merged)
        assert shown == [("Four.", 1), ("Water.", 1), (TWO, None), (f"{THREE} {FOUR}", 2)]

    def test_what_is_disabled_stays_there(self):
        pieces = pieces_of(ONE, TWO)
        overlaid = overlay(pieces, [edit_of(pieces, 1, TWO, enabled=False)], count=count, headed=True)
        assert [(piece.text, piece.enabled) for piece in overlaid.pieces] == [(ONE, True), (TWO, False)]

    def test_it_takes_title_heading_and_page_of_what_was_there_and_its_own_tokens(self):
        pieces = pieces_of(ONE, TWO)
        piece = overlay(pieces, [edit_of(pieces, 1, "Twice.")], count=count, headed=True).pieces[1]
        assert (piece.title, piece.heading, piece.page, piece.tokens) == ("Manual", "Chapter", 2, 4)

    def test_a_heading_that_was_changed_stays_so(self):
        pieces = pieces_of(ONE)
        edit = Edit(id=1, originals=(Original(text=ONE),), outcomes=(Outcome(text="x", heading="Motor"),))
        assert overlay(pieces, [edit], count=count, headed=True).pieces[0].heading == "Motor"

    def test_without_edits_nothing_is_touched(self):
        pieces = pieces_of(ONE, TWO)
        assert overlay(pieces, [], count=count, headed=True).pieces == tuple(pieces)


class TestTheSourceChangedElsewhere:
    def test_what_moved_is_found_again(self):
        before = pieces_of(ONE, TWO, THREE)
        shown, found = laid(pieces_of(FOUR, THREE, ONE, TWO), edit_of(before, 1, "Twice."))
        assert shown == [(FOUR, None), (THREE, None), (ONE, None), ("Twice.", 1)]
        assert not found[1].conflict

    @pytest.mark.parametrize("first", [0, 1, 2])
    def test_of_equals_the_one_is_changed_that_stands_between_the_same(self, first):
        before = pieces_of("Same.", ONE, "Same.", TWO, "Same.")
        edit = edit_of(before, 2 * first, "Changed.")
        after = pieces_of(FOUR, "Same.", ONE, "Same.", TWO, "Same.")
        shown, _ = laid(after, edit)
        assert [number for _, number in shown].index(1) == 2 * first + 1

    def test_two_edits_of_equals_do_not_take_each_other_s_place(self):
        pieces = pieces_of("Same.", "Same.", "Same.")
        edits = [edit_of(pieces, place, f"Number {place}.", number=place + 1) for place in (2, 0, 1)]
        shown, _ = laid(pieces, *edits)
        assert [text for text, _ in shown] == ["Number 0.", "Number 1.", "Number 2."]

    def test_a_heading_above_that_is_renamed_is_taken_over(self):
        before = pieces_of(ONE, TWO)
        overlaid = overlay(
            pieces_of(ONE, TWO, heading="Chapter 2"), [edit_of(before, 1, "x")], count=count, headed=True
        )
        assert (overlaid.pieces[1].text, overlaid.pieces[1].heading) == ("x", "Chapter 2")
        assert not overlaid.findings[0].conflict

    def test_boundaries_that_moved_leave_an_edit_where_it_is(self):
        before = pieces_of(f"{ONE}\n\n{TWO}", f"{THREE}\n\n{FOUR}")
        after = pieces_of(f"New.\n\n{ONE}", f"{TWO}\n\n{THREE}", FOUR)
        shown, found = laid(after, edit_of(before, 1, "Mine."))
        assert shown == [(f"New.\n\n{ONE}", None), (TWO, None), ("Mine.", 1)]
        assert not found[1].conflict

    def test_so_do_sentences_that_are_repeated_where_a_text_was_cut(self):
        before = pieces_of(f"{ONE} {TWO}", f"{TWO} {THREE} {FOUR}")
        after = pieces_of(ONE, f"{ONE} {TWO} {THREE}", f"{THREE} {FOUR}")
        shown, found = laid(after, edit_of(before, 1, "Mine."))
        assert shown == [(ONE, None), ("Mine.", 1)]
        assert not found[1].conflict

    def test_scripts_without_spaces_are_found_too(self):
        one, two = "发动机有四个气缸并用水冷却需要每年检查一次。", "机油每年更换一次由懂得如何操作的人来完成。"
        before = pieces_of(one, two)
        shown, found = laid(pieces_of(f"新的。{one}{two}"), edit_of(before, 1, "改了。"))
        assert shown == [(f"新的。{one}", None), ("改了。", 1)]
        assert not found[1].conflict

    def test_a_short_text_is_not_found_in_the_middle_of_a_sentence(self):
        before = pieces_of("Oil is changed", TWO)
        _, found = laid(pieces_of(TWO), edit_of(before, 0, "Mine."))
        assert found[1].conflict


class TestTheSourceChangedThere:
    CHANGED = "Oil is changed twice a year by a person who knows how."

    def test_the_edit_stays_and_the_other_text_is_told_and_not_shown(self):
        before = pieces_of(ONE, TWO, THREE)
        shown, found = laid(pieces_of(ONE, self.CHANGED, THREE), edit_of(before, 1, "Mine."))
        assert shown == [(ONE, None), ("Mine.", 1), (THREE, None)]
        assert found[1].conflict
        assert [original.text for original in found[1].theirs] == [self.CHANGED]

    def test_only_what_is_like_it_is_taken_away(self):
        before = pieces_of(ONE, TWO)
        after = pieces_of(f"{ONE}\n\n{self.CHANGED}\n\n{FOUR}")
        shown, found = laid(after, edit_of(before, 1, "Mine."))
        assert shown == [(ONE, None), ("Mine.", 1), (FOUR, None)]
        assert [original.text for original in found[1].theirs] == [self.CHANGED]

    def test_what_is_kept_as_it_is_found_is_found_the_next_time(self):
        after = pieces_of(f"{ONE}\n\n{self.CHANGED}\n\n{FOUR}")
        kept = Edit(
            id=1, originals=(Original(text=self.CHANGED, heading="Chapter"),), outcomes=(Outcome(text="Mine."),)
        )
        shown, found = laid(after, kept)
        assert shown == [(ONE, None), ("Mine.", 1), (FOUR, None)]
        assert not found[1].conflict

    def test_what_was_rewritten_at_the_same_place_is_recognised_by_what_stands_around_it(self):
        before = pieces_of(ONE, TWO, THREE)
        rewritten = "A person who knows how has to look after the filters, too, and that is what is done in spring."
        shown, found = laid(pieces_of(ONE, rewritten, THREE), edit_of(before, 1, "Mine."))
        assert shown == [(ONE, None), ("Mine.", 1), (THREE, None)]
        assert found[1].theirs[0].text == rewritten

    def test_what_is_gone_leaves_the_edit_between_its_old_neighbours(self):
        before = pieces_of(ONE, TWO, THREE)
        shown, found = laid(pieces_of(ONE, THREE), edit_of(before, 1, "Mine."))
        assert shown == [(ONE, None), ("Mine.", 1), (THREE, None)]
        assert (found[1].conflict, found[1].theirs) == (True, None)

    def test_something_else_in_its_place_is_not_hidden_by_it(self):
        before = pieces_of(ONE, TWO, THREE)
        shown, found = laid(pieces_of(ONE, FOUR, THREE), edit_of(before, 1, "Mine."))
        assert shown == [(ONE, None), ("Mine.", 1), (FOUR, None), (THREE, None)]
        assert found[1].theirs is None

    def test_what_was_moved_far_away_and_changed_is_not_shown_twice(self):
        others = [f"Something about the number {number} that nobody else says." for number in range(40)]
        before = pieces_of(ONE, TWO, THREE, *others)
        shown, found = laid(pieces_of(ONE, THREE, *others, self.CHANGED), edit_of(before, 1, "Mine."))
        assert shown[-1] == ("Mine.", 1)
        assert found[1].theirs[0].text == self.CHANGED

    def test_an_addition_stays_between_its_neighbours_and_is_no_conflict(self):
        added = Edit(id=1, originals=(), outcomes=(Outcome(text="Added."),), before=ONE, after=TWO)
        shown, found = laid(pieces_of(FOUR, ONE, TWO), added)
        assert shown == [(FOUR, None), (ONE, None), ("Added.", 1), (TWO, None)]
        assert not found[1].conflict

    def test_all_of_them_stay_when_everything_is_gone(self):
        before = pieces_of(ONE, TWO, THREE)
        edits = [edit_of(before, place, f"Mine {place}.", number=place) for place in range(3)]
        shown, found = laid(pieces_of("Entirely new."), *edits)
        assert {text for text, _ in shown} == {"Mine 0.", "Mine 1.", "Mine 2.", "Entirely new."}
        assert all(finding.conflict and finding.theirs is None for finding in found.values())


def test_real_cutting_keeps_edits_when_paragraphs_are_added_before_and_within():
    paragraphs = [f"Paragraph {number} tells of matter {number} in so many words." for number in range(30)]

    def cut(texts):
        blocks = [Block(kind=BlockKind.HEADING, text="Chapter", level=2)]
        blocks += [Block(kind=BlockKind.TEXT, text=text) for text in texts]
        return list(chunked("Manual", blocks, Cut(tokens=40, overlap=0), count))

    before = cut(paragraphs)
    edits = [edit_of(before, place, f"Mine {place}.", number=place) for place in (1, 4)]
    after = cut(["A new one at the beginning.", *paragraphs[:12], "And one that is new within.", *paragraphs[12:]])
    overlaid = overlay(after, edits, count=count, headed=True)
    assert not any(finding.conflict for finding in overlaid.findings)
    text = "\n".join(piece.text for piece in overlaid.pieces)
    gone = [original.text for edit in edits for original in edit.originals]
    for paragraph in paragraphs:
        assert text.count(paragraph) == (0 if any(paragraph in original for original in gone) else 1)
    assert overlay(after, edits, count=count, headed=True) == overlaid
