"""What clients say of grounding, and what they are told when it makes no sense."""

import pytest

from routing.backends.protocol import Grounding
from routing.exceptions import BadRequest
from tests.requests import chat_request

FILTER = {"type": "gte", "key": "year", "value": 2024}


@pytest.mark.parametrize(
    ("fields", "wish"),
    [
        ({}, None),
        ({"use_rag": None, "rag": None, "rag_collections": None}, None),
        ({"rag_collections": []}, None),
        ({"use_rag": True}, Grounding()),
        ({"use_rag": False}, Grounding(wanted=False)),
        ({"rag": True}, Grounding()),
        ({"rag": False}, Grounding(wanted=False)),
        ({"rag": {}}, Grounding()),
        ({"use_rag": True, "rag": True}, Grounding()),
        ({"rag_collections": ["a", "b", "a"]}, Grounding(collections=("a", "b"))),
        ({"rag_collections": "a"}, Grounding(collections=("a",))),
        ({"use_rag": False, "rag_collections": ["a"]}, Grounding(wanted=False, collections=("a",))),
        ({"rag": {"collections": ["b"]}, "rag_collections": ["a"]}, Grounding(collections=("b",))),
        ({"rag": {"top_k": 3}, "rag_collections": ["a"]}, Grounding(collections=("a",), top_k=3)),
        (
            {"use_rag": True, "rag": {"mode": "vector", "filters": FILTER, "condense": False}},
            Grounding(mode="vector", filters=FILTER, condense=False),
        ),
    ],
    ids=str,
)
def test_what_is_said_is_understood(fields, wish):
    assert chat_request(**fields).grounding == wish


@pytest.mark.parametrize(
    ("fields", "param", "words"),
    [
        ({"use_rag": "yes"}, "use_rag", "must be true or false"),
        ({"use_rag": False, "rag": True}, "use_rag", "says the opposite"),
        ({"use_rag": True, "rag": False}, "use_rag", "says the opposite"),
        ({"use_rag": False, "rag": {"top_k": 3}}, "use_rag", "Leave one of them out"),
        ({"rag": "handbook"}, "rag", "must be true, false or an object"),
        ({"rag_collections": 5}, "rag_collections", "must be a list of collections' names"),
        ({"rag_collections": [5]}, "rag_collections", "must be a list of collections' names"),
        ({"rag_collections": [""]}, "rag_collections", "must be a list of collections' names"),
        ({"rag_collections": ["x"] * 21}, "rag_collections", "20 are the most"),
        ({"rag": {"collections": {"a": 1}}}, "rag.collections", "must be a list of collections' names"),
        ({"rag": {"top_k": 0}}, "rag.top_k", "from 1 to 50"),
        ({"rag": {"top_k": 51}}, "rag.top_k", "from 1 to 50"),
        ({"rag": {"top_k": True}}, "rag.top_k", "from 1 to 50"),
        ({"rag": {"top_k": 2.5}}, "rag.top_k", "from 1 to 50"),
        ({"rag": {"mode": "fuzzy"}}, "rag.mode", "must be one of hybrid, vector, text"),
        ({"rag": {"mode": ["text"]}}, "rag.mode", "must be one of hybrid, vector, text"),
        ({"rag": {"condense": "no"}}, "rag.condense", "must be true or false"),
        ({"rag": {"filters": "year > 2024"}}, "rag.filters", "'rag.filters' must be an object"),
        ({"rag": {"filters": {"type": "like", "key": "a", "value": 1}}}, "rag.filters", "must be one of"),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_named(fields, param, words):
    with pytest.raises(BadRequest) as caught:
        chat_request(**fields)
    assert (caught.value.param, caught.value.code) == (param, "invalid_value")
    assert words in caught.value.message


def test_what_nobody_reads_inside_is_named():
    assert chat_request(rag={"top_k": 3, "rerank": True, "colour": "red"}).ignored == ("rag.rerank", "rag.colour")
