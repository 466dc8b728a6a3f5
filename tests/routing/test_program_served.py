"""The program on the real embedded model, in a running installation."""

import time

import pytest

pytestmark = pytest.mark.served

DOUBTFUL = (
    "Describe the sorting of mail",
    "Put the results of the survey together",
    "Compare the two drafts by length",
    "Draft a query for the meeting",
)
"""Messages that more than one expert could answer; the classifier that ships is unsure of them."""
ACTIVATE = """
from routing.models import Expert, RouterProgram
RouterProgram.objects.create(
    active=True, status="done", runs_on=Expert.objects.get(slug="general"), time_limit=10, loads_model=True
)
"""
DELETE = "from routing.models import RouterProgram; RouterProgram.objects.all().delete()"


@pytest.fixture
def activated(served):
    served.shell(ACTIVATE)
    yield served
    served.shell(DELETE)


def test_it_names_an_expert_there_is_or_abstains(activated):
    client = activated.http()
    experts = {row["id"] for row in client.get("/v1/models").json()["data"]}
    asked = []
    deadline = time.monotonic() + 60
    while not asked and time.monotonic() < deadline:
        for text in DOUBTFUL:
            body = {"model": "auto", "messages": [{"role": "user", "content": text}]}
            told = client.post("/v1/route", json=body).json()
            program = told["explain"]["program"]
            if program and "still being loaded" not in program["why_not"]:
                asked.append((told, program))
    assert asked
    for told, program in asked:
        assert told["expert"] in experts
        assert (told["route"] == "program") is program["accepted"]
        assert program["expert"] is None or program["expert"] in experts
        assert program["milliseconds"] < 30_000  # its limit is 10 s
