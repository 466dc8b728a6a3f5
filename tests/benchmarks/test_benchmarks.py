"""The harness measures something; how fast it is, is for `make bench` to say."""

import json

import pytest

from tests.benchmarks.report import Case
from tests.benchmarks.run import Plan, run
from tests.conftest import new_data_dir

CHAT, STREAM = Case(connections=2), Case(connections=2, stream=True, tokens=50)


@pytest.mark.served
def test_a_short_run_has_every_figure():
    report = run(Plan(seconds=0.4, rounds=1, cases=(CHAT, STREAM), litellm=False), new_data_dir(empty=True))

    assert list(report.errors()) == []
    assert report.targets() == ["gateway", "stub"]
    assert all(found.measurement.done for found in report.rounds)
    figures = {(case, title): set(found) for case, title, found in report.lines()}
    assert figures[CHAT, "requests/s"] == figures[CHAT, "p99 ms"] == {"gateway", "stub"}
    assert figures[STREAM, "tokens/s"] == figures[STREAM, "first byte ms"] == {"gateway", "stub"}
    assert report.memory["gateway"].after > 0
    assert "chat-2 requests/s" in report.as_text()
    assert json.loads(json.dumps(report.as_json()))["failed_requests"] == 0
