"""What is read out of a model's answer: a permitted expert by its exact name, or nothing."""

import json
import math
import random

import pytest

from routing.program.verdict import LONGEST_REASON, UNTOLD_CONFIDENCE, Verdict, read_answer
from tests.routing.program_answers import odd_answers

PERMITTED = ("code", "math", "code-review")


def read(answer):
    return read_answer(answer, PERMITTED)


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        ('{"expert": "math", "confidence": 0.9, "reason": "a sum"}', ("math", 0.9, "a sum")),
        ('{"reason": "a sum", "confidence": 0.9, "expert": "math"}', ("math", 0.9, "a sum")),
        ('```json\n{"expert": "math", "confidence": 1}\n```', ("math", 1.0, "")),
        ('Sure! {"expert": "math"} Anything else?', ("math", UNTOLD_CONFIDENCE, "")),
        ('<think>It could be {"expert": "code"}.</think>{"expert": "math"}', ("math", UNTOLD_CONFIDENCE, "")),
        ('{"answer": {"expert": "math", "confidence": 0.7}}', ("math", 0.7, "")),
        ('[{"expert": "math", "confidence": 0.7}]', ("math", 0.7, "")),
        ('{"expert": " Math ", "confidence": "80%"}', ("math", 0.8, "")),
        ('{"expert": "math", "confidence": "0.25"}', ("math", 0.25, "")),
        ("math", ("math", UNTOLD_CONFIDENCE, "")),
        ('"Math."', ("math", UNTOLD_CONFIDENCE, "")),
        ({"expert": "math", "confidence": 0.5, "reason": "x"}, ("math", 0.5, "x")),
    ],
)  # fmt: skip
def test_a_permitted_expert_is_found(answer, verdict):
    expert, confidence, reason = verdict
    assert read(answer) == Verdict(expert=expert, confidence=pytest.approx(confidence), reason=reason)


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        ('{"expert": "math", "confidence": 0.9, "reason": "the user wa', ("math", 0.9, "the user wa")),
        ('{"expert": "math", "confidence": 0.9', ("math", UNTOLD_CONFIDENCE, "")),
        ('{"expert": "math", "conf', ("math", UNTOLD_CONFIDENCE, "")),
        ('{"expert": "code"', ("code", UNTOLD_CONFIDENCE, "")),
    ],
)
def test_an_answer_cut_short_counts_once_the_name_is_whole(answer, verdict):
    expert, confidence, reason = verdict
    assert read(answer) == Verdict(expert=expert, confidence=confidence, reason=reason)


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "{",
        '{"expert": "code',  # it might have become code-review
        '{"expert": "law", "confidence": 1.0, "reason": "x"}',
        '{"expert": ["math"]}',
        '{"expert": null}',
        '{"expert": {"name": "math"}}',
        '{"expert": 3}',
        "The math expert should answer.",
        "math or code",
        "Ich weiß es nicht.",
        '{"expert": "math\\u0000"}',
        '<think>{"expert": "math"}',
        {"confidence": 1.0},
        {},
    ],
)
def test_what_names_no_permitted_expert_abstains(answer):
    assert read(answer) is None


@pytest.mark.parametrize(
    ("told", "confidence"),
    [
        ("2", 1.0),
        ("-1", 0.0),
        ("95", 1.0),
        ("NaN", UNTOLD_CONFIDENCE),
        ("Infinity", UNTOLD_CONFIDENCE),
        ("-Infinity", UNTOLD_CONFIDENCE),
        ("true", UNTOLD_CONFIDENCE),
        ('"high"', UNTOLD_CONFIDENCE),
        ("null", UNTOLD_CONFIDENCE),
        ("[1]", UNTOLD_CONFIDENCE),
        ("1e999", UNTOLD_CONFIDENCE),
        ("1" + "0" * 400, UNTOLD_CONFIDENCE),
        ("1" + "0" * 3000, UNTOLD_CONFIDENCE),
        ('"250%"', 1.0),
        ('"%"', UNTOLD_CONFIDENCE),
    ],
)
def test_a_confidence_is_a_number_from_0_to_1(told, confidence):
    assert read(f'{{"expert": "math", "confidence": {told}}}').confidence == confidence


def test_a_reason_is_one_short_printable_line():
    reason = read(json.dumps({"expert": "math", "reason": "a\nb\0c\x1b[31m \ud83d" + " long" * 500})).reason
    assert len(reason) <= LONGEST_REASON
    assert reason.isprintable()
    assert reason.startswith("a b c [31m long")
    assert read('{"expert": "math", "reason": ["x"]}').reason == ""


def test_experts_whose_names_differ_in_case_alone_are_told_apart():
    assert read_answer('{"expert": "MATH"}', ("Math", "math")) is None
    assert read_answer('{"expert": "Math"}', ("Math", "math")) == Verdict(expert="Math")


def test_a_thousand_odd_answers_name_a_permitted_expert_or_none():
    named = 0
    for answer in odd_answers(1000, random.Random(6), PERMITTED):
        found = read(answer)
        if found is not None:
            named += 1
            assert found.expert in PERMITTED
            assert 0.0 <= found.confidence <= 1.0
            assert math.isfinite(found.confidence)
            json.dumps(found.reason).encode()
    assert 100 < named < 900


def test_an_endless_answer_is_read_at_once():
    assert read('{"a":' * 100_000) is None
    assert read("[" * 100_000) is None
    assert read('{"expert"' * 100_000) is None
