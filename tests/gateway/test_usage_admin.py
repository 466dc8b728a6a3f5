"""The admin's pages of usage: a list that stays quick, charts, files for spreadsheets, texts behind a permission."""

import csv
import datetime as dt
import html
import io
import re
from decimal import Decimal

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from gateway.models import ApiKey, Exchange, UsageHour, UsageRecord
from gateway.usage.charts import MEASURES, OTHERS, chart, names_of, times_between
from gateway.usage.csvfile import lines
from gateway.usage.journal import UsageJournal
from tests.gateway.test_usage_journal import record

pytestmark = pytest.mark.django_db(transaction=True)
RECORDS, HOURS, TEXTS = (f"/admin/gateway/{name}/" for name in ("usagerecord", "usagehour", "exchange"))


@pytest.fixture
def boss(client):
    client.force_login(User.objects.create_superuser("boss"))
    return client


def noted(*records):
    journal = UsageJournal()
    for one in records:
        journal.note(one)
    journal.flush()


def test_the_list_has_filters_and_finds_by_id(boss):
    key, _ = ApiKey.objects.issue(name="laptop")
    noted(
        record(1, key_id=key.pk, expert="alpha"),
        record(2, expert="beta", status=502, outcome="upstream_error"),
        record(3, status=499, is_cancelled=True, is_estimated=True),
    )
    assert b"3 requests" in boss.get(RECORDS).content
    for query, count in (
        ("key=" + str(key.pk), 1),
        ("ended=failed", 1),
        ("ended=cancelled", 1),
        ("q=r2", 1),
        ("q=r", 0),
    ):
        assert f"{count} request".encode() in boss.get(f"{RECORDS}?{query}").content, query
    assert b"3 requests" in boss.get(f"{RECORDS}?key=x").content  # no key: nothing is filtered, as the page shows
    page = boss.get(f"{RECORDS}{UsageRecord.objects.get(request_id='r1').pk}/change/")
    assert b"neither its decision nor its texts were kept" in page.content


def test_a_page_of_the_list_does_not_count_all_records(boss, django_assert_max_num_queries):
    noted(*map(record, range(120)))
    with django_assert_max_num_queries(12):
        assert boss.get(RECORDS).status_code == 200


def test_records_cannot_be_changed(boss):
    noted(record(1))
    pk = UsageRecord.objects.get().pk
    assert boss.post(f"{RECORDS}{pk}/change/", {"cost": "0"}).status_code == 403
    assert boss.post(f"{RECORDS}{pk}/delete/", {"post": "yes"}).status_code == 403


def test_a_file_for_spreadsheets_has_no_formulas(boss):
    noted(record(1, asked='=HYPERLINK("http://evil.example")', key_name="@sum", cost=Decimal(0)), record(2))
    answer = boss.post(
        RECORDS, {"action": "as_csv", "_selected_action": list(UsageRecord.objects.values_list("pk", flat=True))}
    )
    rows = list(csv.DictReader(io.StringIO(b"".join(answer.streaming_content).decode())))
    assert (rows[0]["asked"], rows[0]["key_name"]) == ('\'=HYPERLINK("http://evil.example")', "'@sum")
    assert [row["cost"] for row in rows] == ["0.00000000", "0.00000125"]
    assert rows[1]["asked"] == "auto"


@pytest.mark.parametrize("asked", ["a;=1+1", "a; @sum", ";\t=1", "＝1+1"])
def test_nor_after_what_parts_cells_elsewhere(asked):
    file = b"".join(lines(["a"], [[asked]])).decode()
    assert "'" + asked.removeprefix("a").removeprefix(";") in file


def test_a_list_of_texts_reads_none_of_them(boss):
    Exchange.objects.create(
        id="dec_1", created_at=timezone.now(), what="completion", request_id="r", because="key", request={"a": "b"}
    )
    with CaptureQueriesContext(connection) as asked:
        assert b"dec_1" in boss.get(TEXTS).content
    assert [one["sql"] for one in asked if '"gateway_exchange"."request",' in one["sql"]] == []


@pytest.mark.parametrize("path", [f"{TEXTS}?what=%00", f"{RECORDS}?by=%00", "/admin/gateway/apikey/?group=a%00"])
def test_an_address_with_what_is_in_no_text_is_refused(boss, path):
    assert boss.get(path).status_code == 400


def test_numbers_below_nought_stay_numbers():
    assert b"".join(lines(["a"], [[-1.5], ["-1"], ["+x"], [None]])) == b"a\r\n-1.5\r\n'-1\r\n'+x\r\n\"\"\r\n"


def test_charts_show_hours_and_days_by_whatever_is_chosen(boss):
    now = timezone.now()
    noted(record(1, created_at=now), record(2, created_at=now - dt.timedelta(days=5), expert="<b>bold</b>"))
    for query in ("", "?days=1&by=key", "?days=30&by=kind", "?days=nonsense&by=colour"):
        page = boss.get(HOURS + query)
        assert page.status_code == 200
        assert b"<rect" in page.content
        assert b"<script" not in page.content.partition(b'id="content"')[2]
    assert b"<b>bold" not in boss.get(HOURS).content
    assert b"&lt;b&gt;bold" in boss.get(HOURS).content
    sums = b"".join(boss.get(f"{HOURS}?format=csv").streaming_content).decode()
    assert len(sums.splitlines()) == 3


def test_the_page_of_charts_tells_the_sums_of_what_was_recorded(boss):
    now = timezone.now()
    noted(
        record(1, created_at=now, first_token_ms=10.0),
        record(2, created_at=now, first_token_ms=30.0, cost=Decimal("0.5")),
        record(
            3, created_at=now, expert="small", first_token_ms=None, status=502, prompt_tokens=0, completion_tokens=0
        ),
        record(4, created_at=now - dt.timedelta(days=40), expert="bygone"),
    )
    page = html.unescape(boss.get(f"{HOURS}?days=7&by=expert").content.decode())
    assert re.findall(r"<h2>(.*?)</h2>", page.partition('id="content"')[2]) == [
        "Requests: 3",
        "Tokens read and written: 30",
        "Cost: 0.5",
        "Time to the first piece, on average: 20 ms",
        "Requests that failed: 1",
    ]
    day = f"{now:%d %b}"
    bars = re.findall(r"<title>(\d\d .*?)</title>", page)
    assert bars[:4] == [f"{day} code: 2", f"{day} small: 1", f"{day} code: 30", f"{day} small: 0"]
    assert f"{day}: 20 ms" in bars
    assert "bygone" not in page


def test_who_may_not_see_usage_does_not(client):
    client.force_login(User.objects.create_user("clerk", is_staff=True))
    assert [client.get(path).status_code for path in (RECORDS, HOURS, TEXTS)] == [403, 403, 403]


def test_texts_are_for_those_with_the_permission_and_can_be_deleted(client):
    key, _ = ApiKey.objects.issue(name="laptop")
    request = {"messages": [{"role": "user", "content": "How <i>are</i>\nyou?"}]}
    answer = {"message": {"role": "assistant", "content": "Fine."}, "finish_reason": "stop"}
    Exchange.objects.create(
        id="dec_1",
        created_at=timezone.now(),
        what="completion",
        key=key,
        request_id="r",
        because="key",
        request=request,
        answer=answer,
    )
    clerk = User.objects.create_user("clerk", is_staff=True)
    client.force_login(clerk)
    assert client.get(f"{TEXTS}dec_1/change/").status_code == 403
    clerk.user_permissions.add(*Permission.objects.filter(codename__in=("view_exchange", "delete_exchange")))
    page = client.get(f"{TEXTS}dec_1/change/").content
    assert b"How &lt;i&gt;are&lt;/i&gt;" in page
    assert b"content: Fine." in page
    client.post(f"{TEXTS}dec_1/delete/", {"post": "yes"})
    assert not Exchange.objects.exists()


# --- charts ---------------------------------------------------------------------------------------------------------


def sums(at, expert, **counts):
    usual = {"requests": 1, "prompt_tokens": 3, "completion_tokens": 2, "cost": Decimal(1), "errors": 0}
    usual |= {"first_token_ms": 10.0, "first_tokens": 1}
    return {"bucket": at, "expert": expert} | {f"sum_{name}": value for name, value in (usual | counts).items()}


def test_a_chart_has_a_part_for_each_of_the_largest_and_one_for_the_rest():
    start = dt.datetime(2026, 5, 4, tzinfo=dt.UTC)
    rows = [sums(start, f"e{number}", requests=10 - number) for number in range(8)]
    names = names_of(rows, "expert")
    assert [name.text for name in names] == ["e0", "e1", "e2", "e3", "e4", "e5", OTHERS]
    times = times_between(start, start + dt.timedelta(days=3), "day")
    drawn = chart(MEASURES[0], rows, column="expert", names=names, times=times, form="%d %b")
    assert drawn.total == "52"
    assert drawn.bars[-1].title == "04 May others: 7"
    assert [label.text for label in drawn.times] == ["04 May", "05 May", "06 May"]
    tops = [bar.y for bar in drawn.bars]
    assert tops == sorted(tops, reverse=True)
    assert min(tops) > 0


def test_a_mean_is_over_all_of_them():
    start = dt.datetime(2026, 5, 4, tzinfo=dt.UTC)
    rows = [
        sums(start, "a", first_token_ms=30.0, first_tokens=1),
        sums(start, "b", first_token_ms=10.0, first_tokens=3),
    ]
    drawn = chart(MEASURES[3], rows, column="expert", names=names_of(rows, "expert"), times=[start], form="%H")
    assert [bar.title for bar in drawn.bars] == ["00: 10 ms"]
    assert drawn.total == "10 ms"


def test_nothing_is_a_chart_too():
    drawn = chart(MEASURES[0], [], column="expert", names=(), times=[], form="%H")
    assert (drawn.bars, drawn.total) == ((), "0")
    assert UsageHour.objects.count() == 0
