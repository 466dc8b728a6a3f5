"""What is searched for when somebody asks."""

import pytest

from gateway.condensing import LONGEST_QUESTION, as_asked, cleaned, demand, question_of
from tests.requests import chat_request


def turns(*texts, role="user"):
    """Return messages: the user's, with an answer between two."""
    messages = []
    for text in texts:
        messages += [{"role": role, "content": text}, {"role": "assistant", "content": "Yes."}]
    return chat_request(messages=messages[:-1]).messages


@pytest.mark.parametrize(
    ("asked", "condense", "query", "also", "by"),
    [
        (["Why?"], True, "Why?", (), ""),
        (["  Why?\n"], True, "Why?", (), ""),
        (["Who did it?", "And why?"], True, "And why?", ("Who did it?\nAnd why?",), "earlier turn"),
        (["A", "B", "C"], True, "C", ("B\nC",), "earlier turn"),
        (["Who did it?", "And why?"], False, "And why?", (), ""),
        (["", "And why?"], True, "And why?", (), ""),
        (["Who?", "  "], True, "", (), ""),
        (["nul\x00l"], True, "nul l", (), ""),
    ],
)
def test_the_last_message_with_the_one_before(asked, condense, query, also, by):
    found = as_asked(turns(*asked), condense=condense)
    assert (found.query, found.also, found.by) == (query, also, by)
    assert found.question == query


def test_nothing_where_no_user_says_anything():
    assert as_asked(turns("Be brief.", role="system"), condense=True).query == ""


def test_of_a_long_message_the_question_without_what_is_pasted():
    pasted = "The quick brown fox jumps over the lazy dog, again and again and again.\n" * 60
    text = f"What does this text say about dogs?\n\n```\n{pasted}```"
    assert question_of(text) == "What does this text say about dogs?"
    assert len(question_of("word " * 2000)) <= LONGEST_QUESTION
    assert question_of("short") == "short"


@pytest.mark.parametrize(
    ("answer", "question"),
    [
        ("How long is sick leave?", "How long is sick leave?"),
        ('\n"How long is sick leave?"\nBecause it says so.', "How long is sick leave?"),
        ("Question: How long?", "How long?"),
        ("Standalone question: How long?", "How long?"),
        ("„Wie lange?“", "Wie lange?"),
        ("", ""),
        ("word " * 200, ""),
    ],
)
def test_what_an_expert_wrote_is_made_a_question(answer, question):
    assert cleaned(answer) == question


def test_an_expert_is_shown_the_end_of_the_conversation_only():
    request = demand(turns(*(f"Turn {number} {'x' * 2000}" for number in range(9))), "small")
    text = request.messages[0].text
    assert "Turn 8" in text
    assert "Turn 5" not in text
    assert len(text) < 5_000
    assert (request.model, request.sampling.temperature, request.think) == ("small", 0, False)
