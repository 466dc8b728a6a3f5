"""The door's benchmark measures every part and leaves all as it was; what they cost is for `make bench` to say."""

import json
import logging

import pytest
from django.conf import settings

from gateway.auth import keys
from gateway.guards.live import guards
from routing import tracing
from routing.catalog import catalog
from tests.benchmarks.door.report import COLUMNS, DoorReport
from tests.benchmarks.door.run import Plan, run
from tests.benchmarks.door.setups import applied, everything
from tests.benchmarks.door.timing import Measured, Part, Variant
from tests.benchmarks.door.whole import CACHED

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(scope="module")
def report(django_db_setup, django_db_blocker, tmp_path_factory):
    # Its threads have connections of their own; what they write goes when the first test has ended.
    with django_db_blocker.unblock():
        return run(Plan(seconds=0.001, rounds=1), tmp_path_factory.mktemp("redis"), say=lambda _: None)


def test_every_variant_has_a_figure_and_stands_beside_another(report):
    rows = {(row.part, row.variant): row for row in report.rows()}

    assert len(rows) == sum(len(part.variants) for part, _ in report.found)
    assert all(row.wall.median > 0 for row in rows.values())
    assert rows["limits", "none"].more is None
    assert rows["limits", "Redis, 50 at once: four kinds, and the group's"].more is not None
    assert {variant for part, variant in rows if part == "guards: a prompt of 20 kB"} == {
        *("none", "size (default)", "secrets and personal data, masked", "all")
    }


def test_the_parts_and_the_steps_stand_beside_the_whole_chat(report):
    assert [total.column for total in report.parts()] == list(COLUMNS)
    off, default, on = report.parts()
    assert set(off.terms) == set(default.terms) == set(on.terms) >= {"recognised", "limits", "cache", "account"}
    assert off.whole == pytest.approx(off.together + off.left_over)

    as_installed, everything = report.steps()
    assert set(as_installed.terms) == {"+ a key", "+ size", "+ decision kept", "+ a line"}
    assert {"+ all guards", "+ cache, missed", "+ tracing"} <= set(everything.terms)
    assert [name for name, *_ in report.wholes()] == [*COLUMNS, CACHED]


def test_sums_are_those_of_the_lowest_rounds_and_say_what_they_leave_out():
    def variant(name, *columns, beside=""):
        return Variant(name=name, work=lambda: None, columns=columns, beside=beside)

    def taking(**cpu):
        return {name.replace("_", " "): Measured(wall=[99, 99], cpu=times, each=[1, 2]) for name, times in cpu.items()}

    part = Part(name="guards", note="", variants=[variant("none", "off", "default"), variant("all", "on")])
    steps = [variant("a key", "default", "on", beside="off"), variant("limits", "on", beside="a key")]
    chat = [variant("off"), *steps, variant("default"), variant("on")]
    found = DoorReport(about={})
    found.found.append((part, taking(none=[3, 1], all=[20, 30])))
    found.found.append(
        (
            Part(name="a chat", note="", variants=chat, is_whole=True),
            taking(off=[50, 40], a_key=[45, 44], limits=[60, 58], default=[45, 90], on=[70, 61]),
        )
    )

    assert [(one.column, one.terms, one.whole) for one in found.parts()] == [
        ("off", {"guards": 1}, 40),
        ("default", {"guards": 1}, 45),
        ("on", {"guards": 20}, 61),
    ]
    assert [(one.column, one.terms, one.whole, one.left_over) for one in found.steps()] == [
        ("default", {"a key": 4}, 5, 1),
        ("on", {"a key": 4, "limits": 14}, 21, 3),
    ]


def test_it_is_told_as_tables_and_as_json(report):
    text = report.as_text()
    assert "Redis: four kinds" in text
    assert "not in the sum" in text
    assert "added p99 ms" in text
    told = json.loads(json.dumps(report.as_json()))
    assert {"about", "microseconds", "parts", "steps", "wholes"} == set(told)


def test_a_setup_leaves_everything_as_it_was():
    def state():
        logger = logging.getLogger("gateway")
        held = (keys.peek(), guards.peek(), catalog.peek(), settings.RESPONSE_CACHE, tracing.is_tracing())
        return *held, logger.level, logger.propagate, list(logger.handlers)

    before = state()
    with applied(everything()):
        assert state() != before
        assert tracing.is_tracing()
    assert state() == before
