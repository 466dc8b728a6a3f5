"""The ids of responses and of their items. Pure.

An item's id holds that of its response, so that a client that sends the id alone can be told what it stands for.
"""

import re
import uuid

START = "resp_"
_RESPONSE = re.compile(r"resp_[0-9a-f]{32}\Z")
_ITEM = re.compile(r"[a-z]{2,8}_(?P<digits>[0-9a-f]{32})_(?:in)?[0-9]{1,6}\Z")
# How ids of items begin, as OpenAI's do: some clients tell items apart by it.
STARTS = {
    "message": "msg",
    "reasoning": "rs",
    "function_call": "fc",
    "function_call_output": "fco",
    "custom_tool_call": "ctc",
    "custom_tool_call_output": "ctco",
    "file_search_call": "fs",
}


def new_response_id() -> str:
    return f"{START}{uuid.uuid4().hex}"


def is_response_id(text: str) -> bool:
    return _RESPONSE.match(text) is not None


def output_id(kind: str, response: str, place: int) -> str:
    """Return the id of the item at ``place`` of what a response says."""
    return f"{STARTS[kind]}_{response.removeprefix(START)}_{place}"


def input_id(kind: str, response: str, place: int) -> str:
    """Return the id of the item at ``place`` of what a response was asked."""
    return f"{STARTS[kind]}_{response.removeprefix(START)}_in{place}"


def response_of(item: str) -> str | None:
    """Return the id of the response that an item is of; None for an id that is none of ours."""
    found = _ITEM.match(item)
    return f"{START}{found['digits']}" if found else None
