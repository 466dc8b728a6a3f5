"""GET /v1/usage: each key sees what it used itself, one that may administer what everybody did."""

import datetime as dt
from decimal import Decimal

import pytest

from gateway.auth import keys
from gateway.models import ApiKey, KeyGroup, UsageHour
from gateway.usage.query import parse_usage
from routing.exceptions import BadRequest

pytestmark = pytest.mark.django_db(transaction=True)
DAY = dt.datetime(2026, 5, 4, tzinfo=dt.UTC)
NOW = DAY + dt.timedelta(days=3)


def hour(at, key, expert="code", **counts):
    usual = {"requests": 1, "prompt_tokens": 10, "completion_tokens": 5, "cost": Decimal("0.5"), "total_ms": 30.0}
    UsageHour.objects.create(
        hour=at,
        key_id=key.pk if key else 0,
        key_name=key.name if key else "",
        group=key.group if key else "",
        what="completion",
        asked="auto",
        expert=expert,
        **(usual | counts),
    )


@pytest.fixture
def shelf(client):
    class Shelf:
        own, own_text = ApiKey.objects.issue(name="laptop", group="sales")
        other, _ = ApiKey.objects.issue(name="server")
        admin, admin_text = ApiKey.objects.issue(name="boss", scopes=["admin"])

        def get(self, text=None, **query):
            given = {"start": "2026-05-01", "end": "2026-06-01"} | query
            return client.get("/v1/usage", given, headers={"Authorization": f"Bearer {text or self.own_text}"})

        def everybodys(self, **query):
            return self.get(self.admin_text, **query).json()

    found = Shelf()
    hour(DAY, found.own, first_tokens=1, first_token_ms=8.0)
    hour(DAY + dt.timedelta(hours=3), found.own, "general", requests=2, errors=1)
    hour(DAY + dt.timedelta(days=1), found.other)
    hour(DAY + dt.timedelta(days=40), None)
    return found


def test_a_key_sees_its_own(shelf):
    told = shelf.get().json()
    assert told["totals"]["requests"] == 3
    assert told["totals"] | {"mean_ms": 20.0, "mean_first_token_ms": 8.0, "cost": 1.0} == told["totals"]
    assert [(row["start"], row["requests"]) for row in told["data"]] == [("2026-05-04T00:00:00Z", 3)]
    assert (told["has_more"], told["next_page"]) == (False, None)


def test_an_administrators_key_sees_everybodys(shelf):
    rows = shelf.everybodys(group_by="key,expert", bucket="month")["data"]
    assert [(row["key_name"], row["expert"], row["requests"]) for row in rows] == [
        ("laptop", "code", 1),
        ("laptop", "general", 2),
        ("server", "code", 1),
    ]
    assert shelf.everybodys(group="sales")["totals"]["requests"] == 3
    assert shelf.everybodys(key=str(shelf.other.pk))["totals"]["requests"] == 1
    assert shelf.everybodys(expert="general")["totals"]["errors"] == 1
    assert shelf.everybodys(end="2026-07-01")["totals"]["requests"] == 5


@pytest.mark.parametrize("query", [{"key": "99999"}, {"group": "others"}])
def test_a_key_learns_nothing_of_others(shelf, query):
    assert shelf.get(**query).status_code == 403


def test_a_key_that_was_moved_sees_what_it_used_in_its_group(shelf):
    ApiKey.objects.filter(pk=shelf.own.pk).update(group="support")
    keys.forget()
    assert shelf.get(group="support").json()["totals"]["requests"] == 0
    assert shelf.get().json()["totals"]["requests"] == 3
    assert shelf.get(group="sales").status_code == 403


def test_hours_are_counted_whole_and_the_answer_says_so(shelf):
    told = shelf.get(start="2026-05-04T03:20:00Z", end="2026-05-04T03:40:00Z").json()
    assert (told["start"], told["end"]) == ("2026-05-04T03:00:00Z", "2026-05-04T04:00:00Z")
    assert told["totals"]["requests"] == 2
    assert shelf.get(end="2026-05-04T03:00:00Z").json()["totals"]["requests"] == 1


def test_buckets_and_pages(shelf):
    first = shelf.everybodys(bucket="hour", limit="2")
    assert [row["start"] for row in first["data"]] == ["2026-05-04T00:00:00Z", "2026-05-04T03:00:00Z"]
    assert (first["has_more"], first["next_page"]) == (True, 2)
    second = shelf.everybodys(bucket="hour", limit="2", page="2")
    assert [row["start"] for row in second["data"]] == ["2026-05-05T00:00:00Z"]
    assert second["has_more"] is False


def test_what_is_left_of_budgets_is_told(shelf):
    ApiKey.objects.filter(pk=shelf.own.pk).update(tokens_per_month=1_000_000)
    KeyGroup.objects.create(name="sales", cost_per_day=Decimal("2.5"))
    hour(dt.datetime.now(dt.UTC).replace(minute=0, second=0, microsecond=0), shelf.own)
    budgets = {one["limit"]: one for one in shelf.get().json()["budgets"]}
    assert (
        budgets["tokens_per_month"] | {"of": "key", "most": 1_000_000, "spent": 15, "left": 999_985}
        == budgets["tokens_per_month"]
    )
    assert budgets["cost_per_day"] | {"of": "group", "spent": 0.5, "left": 2.0} == budgets["cost_per_day"]


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"start": "yesterday"}, "start"),
        ({"start": "0001-01-01"}, "start"),
        ({"start": "2026-06-02"}, "start"),
        ({"bucket": "week"}, "bucket"),
        ({"group_by": "key,colour"}, "group_by"),
        ({"key": "-1"}, "key"),
        ({"key": "laptop"}, "key"),
        ({"limit": "0"}, "limit"),
        ({"page": "x"}, "page"),
        ({"colour": "red"}, "colour"),
        ({"group": "a\0b"}, "group"),
    ],
)
def test_what_makes_no_sense_is_named(shelf, query, param):
    answer = shelf.get(shelf.admin_text, **query)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-05-04", DAY),
        ("2026-05-04T02:00:00+02:00", DAY),
        ("2026-05-04T02:00:00 02:00", DAY),  # a plus sign that was not escaped
        ("2026-05-04T00:00:00Z", DAY),
        ("2026-05-04 00:00:00", DAY),
        (str(int(DAY.timestamp())), DAY),
        ("1777852800.5", DAY.replace(microsecond=0)),
    ],
)
def test_times_are_read_in_every_usual_way(text, at):
    assert parse_usage({"start": text}, [], now=NOW).start == at


def test_a_time_beyond_all_times_is_the_last_there_is():
    for end in ("9" * 20, "9999-12-31T23:59:59Z"):
        assert parse_usage({"end": end, "start": "2026-05-04"}, [], now=NOW).end.year == 9999


def test_without_times_it_is_the_last_week():
    asked = parse_usage({}, [], now=NOW)
    assert (asked.start, asked.end) == (NOW - dt.timedelta(days=7), NOW)
    with pytest.raises(BadRequest):
        parse_usage({"start": "2026-05-08"}, [], now=NOW)
