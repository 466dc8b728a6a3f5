"""Texts that come in pieces: what is masked, and where one ends, does not depend on where they were cut."""

import random
import time
from dataclasses import replace

import pytest
import regex  # type: ignore[import-untyped]

from gateway.guards import credentials, personal
from gateway.guards.answers import Answer, Measures
from gateway.guards.guard import made
from gateway.guards.masks import Masks, plain
from gateway.guards.patterns import LONGEST, Patterns, Undecided
from gateway.guards.scanning import Masker, Refuser, Scanner
from gateway.guards.wordlist import wordlist
from routing.backends.protocol import Delta

SECRETS = credentials.secrets(frozenset(credentials.KINDS))
PERSONAL = personal.personal(frozenset(personal.KINDS))
WORDS = wordlist(["project falcon", "Zürich", "機密"], [r"ORD-\d{3,}", r"(?i)begin\s+x+"], "WORD")
KEY = "sk-moe-" + "aB3_dE5-fG7hJ9kL1mN2pQ4rS6tU8vW0xY" * 1
PRIVATE = "-----BEGIN EC PRIVATE KEY-----\n" + "MHcCAQEEIBy4n0Q8mXJ7Zr2\n" * 3 + "-----END EC PRIVATE KEY-----"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N"
TEXTS = [
    "Write to anna.kern@shop.example, or to b@x.example.",
    "anna.kern@shop.example",
    "a@b.example.org.c@d.example",
    f"The key is {KEY}, keep it; not sk-moe-short.",
    f"Here:\n{PRIVATE}\nand then -----BEGIN PRIVATE KEY----- is how one begins.",
    f"Bearer {JWT} and eyJhbGciOiJIUzI1NiJ9 alone",
    "DE89 3704 0044 0532 0130 00 BIC COBADEFF, DE89370400440532013001 and GB82 WEST 1234 5698 7654 32!",
    "4111 1111 1111 1111, 4111-1111-1111-1112, 378282246310005 12/29, 5555 5555 5555 4444 4111",
    "Call +49 30 901820 or (212) 555-0187. In 2024 12 345 678 people; tel. 030/123456",
    "postgres://bob:h7-Kq2x@db.example/x password = 'S0mmer!Nacht' token: get_token()",
    "Ask about Project  Falcon in Zürich or Zu\u0308rich, ORD-12345678 and 機密文書. begin  xxx!",
    "ssn 078-05-1120; 111.444.777-35; 192.168.10.20, 2001:db8::1 and 1.2.3.4.5",
]


def masked(pieces, sets=(SECRETS, PERSONAL, WORDS)):
    scanner = Scanner([Masker(patterns=one, replace=plain) for one in sets], goes_on=lambda error: False)
    return "".join([*(scanner.feed(piece) for piece in pieces), scanner.finish()])


def refused(pieces, sets=(SECRETS, PERSONAL), masking=(WORDS,)):
    found = []
    scanner = Scanner(
        [Masker(patterns=one, replace=plain) for one in masking],
        [Refuser(patterns=one, refuse=lambda span: found.append(span.category)) for one in sets],
        goes_on=lambda error: False,
    )
    text = "".join([*(scanner.feed(piece) for piece in pieces), scanner.finish()])
    return text, found, scanner.is_refused


def cuts(text, rng):
    places = sorted(rng.sample(range(1, len(text)), k=min(len(text) - 1, rng.randint(1, 12))))
    return [text[start:end] for start, end in zip([0, *places], [*places, len(text)], strict=True)]


class TestEveryCut:
    @pytest.mark.parametrize("text", TEXTS)
    def test_two_pieces(self, text):
        whole, ends = masked([text]), refused([text])
        assert whole != text
        for place in range(len(text) + 1):
            assert masked([text[:place], text[place:]]) == whole, place
            assert refused([text[:place], text[place:]]) == ends, place

    @pytest.mark.parametrize("text", TEXTS)
    def test_one_character_at_a_time(self, text):
        assert masked(text) == masked([text])
        assert refused(text) == refused([text])

    def test_many_pieces_of_many_texts(self):
        rng = random.Random(7)
        for _ in range(150):
            text = " ".join(rng.choices([*TEXTS, "and so on,", "12", "@", "sk-", "+", "DE8", "://u:", "\n"], k=5))
            pieces = cuts(text, rng)
            assert masked(pieces) == masked([text]), pieces
            assert refused(pieces) == refused([text]), pieces


class TestWhatComesOut:
    @pytest.mark.parametrize(
        ("pattern", "text", "shown"),
        [
            (r"foo \bbar", "a foo bar", "a [W]"),
            (r"foo\Bbar", "a foobar", "a [W]"),
            (r"foo \mbar", "a foo bar", "a [W]"),
            (r"\bfoo\b.*?\bbar\b", "a foo 20, ba bar b", "a [W] b"),
            (r"foo.*?(?<!\d)bar", "foo 1bar xbar", "[W]"),
            (r"a(?:b|c)*?(?<!b)d", "abcbcd", "[W]"),
            (r"a\d{1,9}?(?<!1)b", "a11b1a12b", "a11b1[W]"),
            (r"q[*+?\b]?\??x??(?<!x)y", "q*?y qxy", "[W] qxy"),
        ],
    )
    def test_of_a_pattern_with_borders_of_words_or_lazy_repetitions(self, pattern, text, shown):
        sets = [wordlist([], [pattern], "W")]
        assert masked([text], sets) == masked(text, sets) == shown
        assert [masked([text[:place], text[place:]], sets) for place in range(len(text))] == [shown] * len(text)

    def test_masks_stand_in_the_place_of_what_was_found(self):
        assert masked([TEXTS[0]]) == "Write to [EMAIL], or to [EMAIL]."
        assert masked([TEXTS[3]]) == "The key is [SECRET], keep it; not sk-moe-short."
        assert masked([TEXTS[4]]) == "Here:\n[SECRET]\nand then -----BEGIN PRIVATE KEY----- is how one begins."
        assert masked([TEXTS[10]]) == "Ask about [WORD] in [WORD] or [WORD], [WORD] and [WORD]文書. [WORD]!"

    def test_a_refused_text_ends_before_what_was_found(self):
        assert refused([TEXTS[0]]) == ("Write to ", ["email"], True)
        assert refused(["Nothing here, ORD-123."]) == ("Nothing here, [WORD].", [], False)

    def test_of_two_that_overlap_the_first_is_masked(self):
        both = [wordlist(["a b"], [], "ONE"), wordlist(["b c d"], [], "TWO"), wordlist(["a b c"], [], "THREE")]
        assert masked(["x a b c d"], both) == "x [THREE] d"

    def test_what_begins_inside_a_mask_still_refuses(self):
        ends = refused(["x a b c d"], sets=[wordlist(["b c"], [], "W")], masking=[wordlist(["a b c d"], [], "W")])
        assert ends == ("x [W]", ["word"], True)


def test_an_answer_says_nothing_more_once_its_thinking_is_refused():
    guard = made(name="house", check="words", places=["output"], action="refuse", settings={"words": ["falcon"]})
    answer = Answer(Measures(guards=(guard,), tell=lambda *_: None, trouble=lambda *_: None), 0)
    # Only with the first piece of the answer it is settled that the word ends there.
    thought = [delta.reasoning for delta in answer.take(Delta(reasoning="of the falcon"))]
    assert (thought, answer.refused) == (["of the "], None)
    assert answer.take(Delta(content="It flies.")) == []
    assert (answer.refused, answer.text, answer.finish()) == (guard, "", [])


class TestHeldBack:
    def held(self, text, sets=(SECRETS, PERSONAL)):
        scanner = Scanner([Masker(patterns=one, replace=plain) for one in sets], goes_on=lambda error: False)
        return text[len(scanner.feed(text)) :]

    @pytest.mark.parametrize(
        ("text", "held"),
        [
            ("The quick brown fox", "fox"),  # it may become an address of mail
            ("The quick brown fox ", ""),
            ("Pay 4111 1111", "4111 1111"),
            ("Pay 4111 1111 and", "and"),
            ("In 2026, ", ""),
            ("-----BEGIN PRIVATE KEY-----\nabc", "-----BEGIN PRIVATE KEY-----\nabc"),
        ],
    )
    def test_no_more_than_what_may_become_a_finding(self, text, held):
        assert self.held(text) == held

    @pytest.mark.parametrize("patterns", [SECRETS, PERSONAL], ids=["secrets", "personal"])
    def test_no_more_together_than_each_pattern_by_itself(self, patterns):
        apart = [Patterns.together([replace(one, looks_back=True)]) for one in patterns.patterns]
        pieces = ["a", "B", "7", "12", " ", " the ", ".", "-", "@", ":", "//", "sk-", "DE8", "4111", "eyJ", "+4", "tel"]
        rng = random.Random(3)
        for _ in range(300):
            text = "".join(rng.choices(pieces, k=rng.randint(1, 20)))
            start = rng.randint(0, len(text))
            assert patterns.open_from(text, start) == min(one.open_from(text, start) for one in apart), (text, start)

    def test_never_more_than_the_longest_finding(self):
        endless = "-----BEGIN PRIVATE KEY-----\n" + "a b " * LONGEST
        assert len(self.held(endless)) <= LONGEST

    def test_what_lies_behind_is_forgotten(self):
        scanner = Scanner([Masker(patterns=PERSONAL, replace=plain)], goes_on=lambda error: False)
        for _ in range(200):
            scanner.feed("all is well here. ")
        assert len(scanner._text) < 1_000


class TestAPatternThatTakesTooLong:
    """Rows are held to quick patterns; one may be in the database all the same."""

    SLOW = wordlist([], [r"(a|aa)+[yz]"], "WORD", owner="house")
    TEXT = "a" * 4_000

    def test_is_given_up_in_time(self):
        began = time.perf_counter()
        with pytest.raises(Undecided) as told:
            self.SLOW.spans(self.TEXT)
        assert told.value.owner == "house"
        assert time.perf_counter() - began < 20

    @pytest.mark.parametrize("goes_on", [True, False])
    def test_and_the_text_goes_on_without_it_or_ends(self, goes_on):
        asked = []
        maskers = [Masker(patterns=one, replace=plain) for one in (self.SLOW, PERSONAL)]
        scanner = Scanner(maskers, goes_on=lambda error: asked.append(error.owner) or goes_on)
        shown = scanner.finish(f"b@x.example {self.TEXT}")
        assert asked == ["house"]
        assert shown == (f"[EMAIL] {self.TEXT}" if goes_on else "")


class TestMasks:
    def restored(self, masks, pieces):
        scanner = Scanner([masks.restoring()], goes_on=lambda error: False)
        return "".join([*(scanner.feed(piece) for piece in pieces), scanner.finish()])

    def made(self, text, taken=()):
        masks = Masks()
        masks.avoid((text, *taken))
        masker = Masker(patterns=PERSONAL, replace=lambda span, found: masks.numbered(span, found, restore=True))
        return masks, Scanner([masker], goes_on=lambda error: False).finish(text)

    def test_the_same_text_has_the_same_mask(self):
        _, shown = self.made("b@x.example, c@x.example, b@x.example, +49 30 901820")
        assert shown == "[EMAIL_1], [EMAIL_2], [EMAIL_1], [PHONE_1]"

    def test_no_mask_is_one_that_was_there(self):
        masks, shown = self.made("[EMAIL_1] is b@x.example")
        assert shown == "[EMAIL_1] is [EMAIL_2]"
        assert self.restored(masks, [shown]) == "[EMAIL_1] is b@x.example"

    def test_texts_come_back_however_the_answer_is_cut(self):
        masks, _ = self.made("b@x.example and c@x.example")
        answer = "Write [EMAIL_2] or [EMAIL_1], not [EMAIL_3] or [EMAIL."
        for place in range(len(answer)):
            pieces = [answer[:place], answer[place:]]
            assert self.restored(masks, pieces) == "Write c@x.example or b@x.example, not [EMAIL_3] or [EMAIL."


def test_no_pattern_of_ours_has_a_group_without_a_name():
    """They become one expression, in which numbers of groups would shift."""
    for one in (*SECRETS.patterns, *PERSONAL.patterns):
        assert one.expression.groups == len(one.expression.groupindex)
    names = [name for one in (*SECRETS.patterns, *PERSONAL.patterns) for name in one.expression.groupindex]
    assert len(names) == len(set(names))
    assert all(isinstance(one, type(regex.compile(""))) for one in PERSONAL.growing)
