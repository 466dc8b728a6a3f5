"""Usage stays usable with millions of records: what people and programs ask of it, in seconds.

``USAGE_ROWS`` is how many records there are; the times are printed (pytest -s). The limits are generous, as other work
may run beside them: they are there to find a scan of everything, which takes many times as long.
"""

import datetime as dt
import io
import os
import time

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from django.utils import timezone

from gateway.models import ApiKey, UsageRecord

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]

ROWS = int(os.environ.get("USAGE_ROWS", "2000000"))
DAYS, KEYS = 90, 50

FILL = """
INSERT INTO gateway_usagerecord (
    created_at, request_id, decision, what, key_id, key_name, key_prefix, "group", asked, profile, expert, replica,
    route, prompt_tokens, completion_tokens, thinking_tokens, is_estimated, cost, queue_ms, load_ms, first_token_ms,
    total_ms, status, outcome, is_cancelled, is_streamed, is_fallback, failed_attempts, grounding, passages, cache
)
SELECT %(now)s::timestamptz - make_interval(secs => ((%(rows)s - n)::float8 / %(rows)s) * %(days)s * 86400),
    'req_' || md5(n::text), 'dec_' || md5(n::text), 'completion', %(first)s + n %% %(keys)s, 'key ' || n %% %(keys)s,
    'sk-moe-abcdef', 'group ' || n %% 5, 'auto', 'auto', 'expert ' || n %% 8, 'model@server', 'classifier',
    n %% 900, n %% 300, 0, false, 0.00001234, 0, 0, 120, 2400, 200 + 302 * (n %% 97 = 0)::int, 'stop', false, true,
    false, 0, '', 0, ''
FROM generate_series(1, %(rows)s) AS n
"""
SUM = """
INSERT INTO gateway_usagehour (hour, key_id, key_name, "group", what, asked, expert, requests, errors, cancelled,
    cached, prompt_tokens, completion_tokens, thinking_tokens, cost, total_ms, first_token_ms, first_tokens)
SELECT date_trunc('hour', created_at), key_id, key_name, "group", what, asked, expert, count(*),
    count(*) FILTER (WHERE status >= 400), 0, 0, sum(prompt_tokens), sum(completion_tokens), 0, sum(cost),
    sum(total_ms), sum(first_token_ms), count(*)
FROM gateway_usagerecord GROUP BY 1, 2, 3, 4, 5, 6, 7
"""


class Watch:
    def __init__(self):
        self.took = {}

    def __call__(self, what, work):
        began = time.perf_counter()
        found = work()
        self.took[what] = time.perf_counter() - began
        print(f"{self.took[what] * 1000:>10.1f} ms  {what}")
        return found


def test_a_day_a_page_a_report_and_a_pruning(client, settings):
    first, text = ApiKey.objects.issue(name="key 0", scopes=["admin"])
    now = timezone.now()
    watch = Watch()
    values = {"rows": ROWS, "days": DAYS, "keys": KEYS, "now": now, "first": first.pk}
    with connection.cursor() as cursor:
        watch(f"filling {ROWS:,} records", lambda: cursor.execute(FILL, values))
        watch("summing them", lambda: cursor.execute(SUM))
        watch("analysing", lambda: cursor.execute("VACUUM ANALYZE gateway_usagerecord, gateway_usagehour"))
        cursor.execute("SELECT pg_relation_size('gateway_usagerecord'), pg_indexes_size('gateway_usagerecord')")
        print("%12d bytes of rows, %d of indexes" % cursor.fetchone())  # noqa: UP031
    day = now - dt.timedelta(days=40)
    records = UsageRecord.objects.filter(key_id=first.pk, created_at__range=(day, day + dt.timedelta(days=1)))
    count = watch("a day's records of one key", lambda: len(records))
    assert count == pytest.approx(ROWS / DAYS / KEYS, rel=0.1)
    client.force_login(User.objects.create_superuser("boss"))
    path = "/admin/gateway/usagerecord/"
    for query in ("", "?p=50", f"?key={first.pk}", "?ended=failed", "?q=req_" + "0" * 32):
        assert watch(f"the list {query}", lambda query=query: client.get(path + query)).status_code == 200
    old = {"created_at__gte": str(day), "created_at__lt": str(day + dt.timedelta(days=1))}
    assert watch("the list of a day long ago", lambda: client.get(path, old)).status_code == 200
    assert watch("charts of 90 days", lambda: client.get("/admin/gateway/usagehour/?days=90")).status_code == 200
    headers = {"Authorization": f"Bearer {text}"}
    for query in ({}, {"group_by": "key,expert", "limit": "1000"}):
        query |= {"start": (now - dt.timedelta(days=90)).isoformat(), "end": now.isoformat()} if query else {}
        told = watch(f"GET /v1/usage {query}", lambda query=query: client.get("/v1/usage", query, headers=headers))
        assert told.status_code == 200
    settings.USAGE_RETENTION_DAYS = DAYS - 1
    out = io.StringIO()
    watch("what pruning a day would delete", lambda: call_command("prune", "--dry-run", "--json", stdout=out))
    watch("pruning a day", lambda: call_command("prune", "--json", stdout=out))
    assert UsageRecord.objects.filter(created_at__lt=now - dt.timedelta(days=DAYS - 1, seconds=60)).count() == 0
    slow = {what: took for what, took in watch.took.items() if took > 5 and "filling" not in what}
    assert set(slow) <= {"summing them", "analysing", "pruning a day"}
