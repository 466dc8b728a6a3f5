import datetime as dt
from typing import Any

import pytest

from routing.rulebook import check, is_implied
from routing.rules import Rule
from routing.rulewords import actions_in_words, conditions_in_words


def rule(name: str = "one", *keywords: str, **fields: Any) -> Rule:
    fields = {"expert": f"expert-{name}", "keywords": keywords} | fields
    return Rule(id=abs(hash(name)), name=name, **fields)


def found(*rules: Rule, **options) -> list[tuple[str, str]]:
    return [(finding.rule.name, finding.kind) for finding in check(rules, **options)]


def message(*rules: Rule, **options) -> str:
    (finding,) = check(rules, **options)
    return finding.message


NIGHT = {"from_time": dt.time(22), "until_time": dt.time(6)}


# One rule's conditions within another's


@pytest.mark.parametrize(
    ("wide", "narrow"),
    [
        ({}, {}),
        ({}, {"keywords": ("a",), "has_images": True, "languages": ("de",), "keys": ("x",)}),
        ({"keywords": ("test", "bug")}, {"keywords": ("Test",)}),
        ({"keywords": ("test",)}, {"keywords": ("unit test", "test it")}),
        ({"keywords": ("翻译",)}, {"keywords": ("请翻译",)}),
        ({"keywords": ("test", "bug")}, {"all_keywords": ("bug", "fix")}),
        ({"all_keywords": ("fix",)}, {"all_keywords": ("bug", "fix")}),
        ({"all_keywords": ("fix",)}, {"keywords": ("fix it", "fix this")}),
        ({"none_keywords": ("unit test",)}, {"none_keywords": ("test",)}),
        ({"keywords": ("a",), "look_in": "conversation"}, {"keywords": ("a",), "look_in": "instruction"}),
        ({"none_keywords": ("a",), "look_in": "message"}, {"none_keywords": ("a",), "look_in": "conversation"}),
        ({"pattern": "x+"}, {"pattern": "x+", "keywords": ("a",)}),
        ({"has_images": True}, {"has_images": True}),
        ({"min_tokens": 10, "max_tokens": 100}, {"min_tokens": 20, "max_tokens": 50}),
        ({"min_tokens": 10}, {"min_tokens": 10, "max_tokens": 50}),
        ({"languages": ("de", "en")}, {"languages": ("DE",)}),
        ({"keys": ("CI-*", "bot")}, {"keys": ("ci-nightly", "ci-*-x")}),
        ({"groups": ("*",)}, {"groups": ("legal",)}),
        ({"headers": {"X-Team": "legal*"}}, {"headers": {"x-team": "Legal-eu", "x-more": "1"}}),
        ({"metadata": {"project": "atlas*"}}, {"metadata": {"project": "atlas"}}),
        ({"profiles": frozenset({"auto", "moe"})}, {"profiles": frozenset({"moe"})}),
        ({"weekdays": frozenset({0, 1})}, {"weekdays": frozenset({1})}),
        ({"weekdays": frozenset({0, 1})} | NIGHT, {"weekdays": frozenset({1})} | NIGHT),
        (NIGHT, {"from_time": dt.time(1), "until_time": dt.time(5)}),
        ({"from_time": dt.time(9)}, {"from_time": dt.time(10), "until_time": dt.time(12)}),
        ({"weekdays": frozenset({0})}, {"weekdays": frozenset({0}), "from_time": dt.time(9)}),
        ({"min_evidence": 0.5, "collections": ("a", "b")}, {"min_evidence": 0.6, "evidence_collections": ("b",)}),
    ],
)
def test_what_fits_whenever_another_does(wide, narrow):
    assert is_implied(rule("wide", **wide), rule("narrow", **narrow))


@pytest.mark.parametrize(
    ("wide", "narrow"),
    [
        ({"keywords": ("a",)}, {}),
        ({"keywords": ("test",)}, {"keywords": ("test", "bug")}),
        ({"keywords": ("unit test",)}, {"keywords": ("test",)}),
        ({"keywords": ("test",)}, {"keywords": ("testing",)}),
        ({"all_keywords": ("a", "b")}, {"all_keywords": ("a",)}),
        ({"all_keywords": ("a",)}, {"keywords": ("a", "b")}),
        ({"none_keywords": ("test",)}, {"none_keywords": ("unit test",)}),
        ({"none_keywords": ("a",)}, {}),
        ({"keywords": ("a",), "look_in": "instruction"}, {"keywords": ("a",), "look_in": "message"}),
        ({"none_keywords": ("a",), "look_in": "conversation"}, {"none_keywords": ("a",), "look_in": "message"}),
        ({"pattern": "x+"}, {"pattern": "x"}),
        ({"has_images": True}, {}),
        ({"has_tools": True}, {"has_tools": False}),
        ({"min_tokens": 10}, {"max_tokens": 50}),
        ({"max_tokens": 50}, {"min_tokens": 10}),
        ({"languages": ("de",)}, {}),
        ({"languages": ("de",)}, {"languages": ("de", "en")}),
        ({"keys": ("ci-*",)}, {"keys": ("*",)}),
        ({"groups": ("legal",)}, {}),
        ({"headers": {"x-team": "legal"}}, {"headers": {"x-team": "legal*"}}),
        ({"metadata": {"a": "1"}}, {"metadata": {"b": "1"}}),
        ({"profiles": frozenset({"moe"})}, {}),
        ({"weekdays": frozenset({0})}, {}),
        # The night of Monday goes on into Tuesday.
        ({"weekdays": frozenset({0})}, {"weekdays": frozenset({0})} | NIGHT),
        ({"from_time": dt.time(9), "until_time": dt.time(12)}, NIGHT),
        ({"from_time": dt.time(9)}, {}),
        ({"min_evidence": 0.5, "collections": ("a",)}, {"collections": ("a",)}),
        ({"min_evidence": 0.5, "collections": ("a",)}, {"min_evidence": 0.4, "collections": ("a",)}),
        ({"min_evidence": 0.5, "collections": ("a",)}, {"min_evidence": 0.5, "collections": ("a", "b")}),
    ],
)
def test_what_need_not_fit_when_another_does(wide, narrow):
    assert not is_implied(rule("wide", **wide), rule("narrow", **narrow))


# Unreachable


def test_a_rule_that_is_never_tried():
    first, second = rule("first", "test", "bug"), rule("second", "unit test", has_images=True)
    assert message(first, second) == (
        "“second” is tried only when expert-first cannot take the request: “first” comes first, which fits whenever "
        "this one would, and stops."
    )
    assert message(rule("first", "test", expert=None, overrides={"seed": 1}), second).startswith(
        "“second” is never tried: “first” comes first"
    )


@pytest.mark.parametrize(
    "first",
    [
        rule("first", "test", stop=False, expert=None),
        rule("first", "test", enabled=False),
        rule("first", "test", has_tools=True, expert="expert-second"),
    ],
)
def test_a_rule_that_is_tried(first):
    assert found(first, rule("second", "unit test")) == []


def test_a_rule_is_called_unreachable_once():
    rules = [rule("a", "x"), rule("b", "x", expert="expert-a"), rule("c", "x")]
    assert found(*rules) == [("b", "unreachable"), ("c", "unreachable")]


# Conflicts


def test_keywords_that_two_experts_claim_are_named():
    first, second = rule("first", "test", "plan"), rule("second", "unit test", "poem", "Plan")
    assert message(first, second) == (
        "“second” and “first” share “unit test”, “Plan” but name different experts; expert-first answers, as “first” "
        "comes first."
    )


def test_the_same_conditions_for_two_experts():
    first, second = rule("first", has_images=True, stop=False), rule("second", has_images=True)
    assert "have the same conditions but name different experts" in message(first, second)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"has_images": True}, {"has_images": False}),
        ({"profiles": frozenset({"auto"})}, {"profiles": frozenset({"moe"})}),
        ({"languages": ("de",)}, {"languages": ("en",)}),
        ({"weekdays": frozenset({0})}, {"weekdays": frozenset({1})}),
        ({"max_tokens": 99}, {"min_tokens": 100}),
        (NIGHT, {"from_time": dt.time(6), "until_time": dt.time(22)}),
        ({"expert": "same"}, {"expert": "same"}),
        ({"expert": None, "stop": False}, {}),
    ],
)
def test_rules_that_do_not_meet_are_no_conflict(one, other):
    assert found(rule("one", "plan", "a", **one), rule("other", "plan", "b", **other)) == []


# One rule


def test_a_rule_without_a_condition_belongs_last():
    anything = rule("anything")
    assert found(rule("first", "a"), anything) == []
    assert found(anything, rule("last", "a")) == [("anything", "unconditional"), ("last", "unreachable")]
    assert found(rule("style", expert=None, stop=False, overrides={"seed": 1}), rule("last", "a")) == []


@pytest.mark.parametrize(
    ("fields", "kind", "words"),
    [
        ({"expert": "gone"}, "expert", "its expert gone is disabled"),
        ({"expert": None, "candidates": ("here", "gone")}, "expert", "candidates that are disabled: gone."),
        ({"languages": ("en", "german", "zh-cn")}, "language", "“german”, “zh-cn”: a language is two or three letters"),
        ({"from_time": dt.time(9), "until_time": dt.time(9)}, "window", "ends when it begins, at 09:00"),
        ({"min_tokens": 10, "max_tokens": 9}, "tokens", "wants 10 tokens and more, but 9 at most"),
        ({"pattern": "("}, "pattern", "cannot be read (missing )"),
    ],
)
def test_a_rule_that_is_wrong_by_itself(fields, kind, words):
    (finding,) = check([rule("one", "a", **fields)], disabled_experts={"gone"})
    assert finding.kind == kind
    assert words in finding.message
    assert check([rule("one", "a", enabled=False, **fields)], disabled_experts={"gone"}) == ()


def test_findings_come_in_the_order_of_the_rules():
    rules = [rule("a", "x", languages=("german",)), rule("b", "y", min_tokens=2, max_tokens=1), rule("c", "y x")]
    assert [name for name, _ in found(*rules)] == ["a", "b", "c", "c"]


# In words


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "always"),
        ({"keywords": ("code",)}, "code"),
        ({"keywords": tuple("abcdefgh")}, "any of a, b, c, d, e, f … (8)"),
        ({"keywords": ("a", "b"), "look_in": "instruction"}, "any of a, b in the instruction"),
        ({"all_keywords": ("a",), "none_keywords": ("b",)}, "all of a; none of b"),
        ({"pattern": "x+", "look_in": "conversation"}, "matches x+ in the conversation"),
        ({"has_images": True, "has_tools": False, "wants_json": True}, "an image; no tools; wants JSON"),
        ({"min_tokens": 1, "max_tokens": 2}, "at least 1 tokens; at most 2 tokens"),
        ({"languages": ("en", "de"), "keys": ("ci-*",), "groups": ("g",)}, "language en or de; API key ci-*; group g"),
        ({"headers": {"x-team": "legal*"}, "metadata": {"p": "1"}}, "header x-team: legal*; metadata p: 1"),
        ({"profiles": frozenset({"b", "a"})}, "profile a or b"),
        ({"min_evidence": 0.5, "evidence_collections": ("a", "b")}, "evidence of 0.5 in a or b"),
        ({"weekdays": frozenset({6, 0})} | NIGHT, "on Mon, Sun; from 22:00 until 06:00"),
    ],
)
def test_conditions_in_words(fields, words):
    assert conditions_in_words(rule(**fields)) == words


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"expert": "code"}, "code answers; stops"),
        ({"expert": None, "candidates": ("a", "b"), "stop": False}, "only a or b may answer; goes on"),
        ({"expert": None, "collections": ("c",), "overrides": {"seed": 1}}, "grounded in c; seed 1; stops"),
        (
            {"system_mode": "append", "system_text": "t", "interrupts": True, "expert": "e"},
            "e answers; system text added; moves conversations; stops",
        ),
    ],
)
def test_actions_in_words(fields, words):
    assert actions_in_words(rule(**fields)) == words
