"""The pages that show what was used: each request, and the sums of hours as charts."""

import datetime as dt
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, cast

from django.conf import settings
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db import connection
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.html import format_html

from gateway.errors import CLIENT_LEFT
from gateway.models import ApiKey, Exchange, UsageHour, UsageRecord
from gateway.usage.charts import MEASURES, chart, names_of, times_between
from gateway.usage.csvfile import lines
from gateway.usage.query import GROUPS, UsageQuery
from gateway.usage.report import hours_of, sums_by
from gateway.usage.sums import COUNTS
from knowledge.archive.download import Download
from routing.admin.readonly import ReadOnly
from routing.models import DecisionRecord, Expert

MOST_COUNTED = 10_000
"""Of rows that fit a filter no more are counted: counting ten million takes longer than anybody waits."""
DAYS = (1, 7, 30, 90, 365)
HOURLY_DAYS = 3


class ShortCount(Paginator):
    """Counts no further than somebody would page; without a filter the database's own estimate is as good."""

    @cached_property
    def count(self) -> int:
        rows = cast("QuerySet[Any]", self.object_list)
        if not rows.query.where:
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT reltuples::bigint FROM pg_class WHERE oid = %s::regclass", [rows.model._meta.db_table]
                )
                estimate = int(cursor.fetchone()[0])
            if estimate > MOST_COUNTED:
                return estimate
        return rows.order_by()[:MOST_COUNTED].count()


# --- filters ----------------------------------------------------------------------------------------------------


class Known(admin.SimpleListFilter):
    """By a column whose values are looked up where they are few, not among millions of records."""

    column = ""

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        return queryset if value is None else queryset.filter(**{self.column: value})


class ByKey(Known):
    title, parameter_name, column = "API key", "key", "key_id"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[Any, str]]:
        return [(key.pk, str(key)) for key in ApiKey.objects.all()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        return queryset.filter(key_id=value) if value and value.isascii() and value.isdigit() else queryset


class ByGroup(Known):
    title, parameter_name, column = "group", "of", "group"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[Any, str]]:
        names = ApiKey.objects.exclude(group="").order_by("group").values_list("group", flat=True).distinct()
        return [(name, name) for name in names]


class ByExpert(Known):
    title, parameter_name, column = "expert", "by", "expert"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[Any, str]]:
        return [(slug, slug) for slug in Expert.objects.values_list("slug", flat=True)]


class ByEnding(admin.SimpleListFilter):
    title, parameter_name = "how it ended", "ended"
    WAYS: Mapping[str, tuple[str, Q]] = {
        "answered": ("answered", Q(status__lt=400)),
        "cancelled": ("left by its client", Q(status=CLIENT_LEFT)),
        "refused": ("refused", Q(status__gte=400, status__lt=CLIENT_LEFT)),
        "failed": ("failed", Q(status__gte=500)),
    }

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[Any, str]]:
        return [(name, words) for name, (words, _) in self.WAYS.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        way = self.WAYS.get(self.value() or "")
        return queryset.filter(way[1]) if way else queryset


# --- each request -----------------------------------------------------------------------------------------------


@admin.register(UsageRecord)
class UsageRecordAdmin(ReadOnly):
    list_display = (
        "created_at",
        "what",
        "key_name",
        "asked",
        "expert",
        "tokens",
        "cost",
        "first_token",
        "total",
        "status",
        "outcome",
    )
    list_filter = (("created_at", admin.DateFieldListFilter), ByEnding, ByKey, ByGroup, ByExpert)
    search_fields = ("request_id",)
    search_help_text = "The whole id of a request (header X-Request-ID)."
    # As they came: ids are given in that order, and theirs is the one index that has all of them.
    ordering = ("-pk",)
    sortable_by = ()
    list_per_page = 100
    paginator = ShortCount
    show_full_result_count = False
    actions = ("as_csv",)
    readonly_fields = ("links",)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        return [*(column.name for column in UsageRecord._meta.concrete_fields if column.name != "id"), "links"]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        return (queryset.filter(request_id=search_term.strip()) if search_term else queryset), False

    @admin.display(description="tokens")
    def tokens(self, record: UsageRecord) -> str:
        about = "about " if record.is_estimated else ""
        return f"{about}{record.prompt_tokens:,} + {record.completion_tokens:,}"

    @admin.display(description="first piece")
    def first_token(self, record: UsageRecord) -> str:
        return "-" if record.first_token_ms is None else f"{record.first_token_ms:,.0f} ms"

    @admin.display(description="took")
    def total(self, record: UsageRecord) -> str:
        return f"{record.total_ms:,.0f} ms"

    @admin.display(description="more of it")
    def links(self, record: UsageRecord) -> str:
        found = [
            (words, reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_change", args=[record.decision]))
            for words, model in (("the decision", DecisionRecord), ("what was said", Exchange))
            if record.decision and model._default_manager.filter(pk=record.decision).exists()
        ]
        if not found:
            return "neither its decision nor its texts were kept"
        first, *others = (format_html('<a href="{}">{}</a>', url, words) for words, url in found)
        return format_html("{} · {}", first, others[0]) if others else first

    @admin.action(description="Download the selected requests as CSV", permissions=["view"])
    def as_csv(self, request: HttpRequest, rows: QuerySet[Any]) -> Download:
        names = [column.attname for column in UsageRecord._meta.concrete_fields]
        return csv_download("requests", names, rows.order_by("pk").values_list(*names).iterator(chunk_size=2_000))


def csv_download(name: str, names: Sequence[str], rows: Iterable[Sequence[Any]]) -> Download:
    """Return rows as a file to be saved; it is written to disk first, so that a slow client holds nothing open."""
    file = tempfile.TemporaryFile(dir=settings.MOE_DATA_DIR)  # noqa: SIM115 - the response closes it
    try:
        file.writelines(lines(names, map(_readable, rows)))
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return Download(
        file,
        as_attachment=True,
        filename=f"{name}-{timezone.now():%Y-%m-%d}.csv",
        content_type="text/csv; charset=utf-8",
    )


def _readable(row: Sequence[Any]) -> list[Any]:
    return [_as_written(value) for value in row]


def _as_written(value: Any) -> Any:
    """Return times and amounts as every spreadsheet reads them: no cost is 0E-8 to Python."""
    if isinstance(value, Decimal):
        return f"{value:f}"
    return value.isoformat() if isinstance(value, dt.datetime) else value


# --- sums -------------------------------------------------------------------------------------------------------


@admin.register(UsageHour)
class UsageHourAdmin(ReadOnly):
    """Shows charts in place of a list."""

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        if not self.has_view_permission(request):
            raise PermissionDenied
        days = _one_of(request.GET.get("days", ""), [str(days) for days in DAYS], "7")
        group = _one_of(request.GET.get("by", ""), list(GROUPS), "expert")
        query = _query(int(days), group)
        if request.GET.get("format") == "csv":
            names = ["hour", "key_id", "key_name", "group", "what", "asked", "expert", *COUNTS]
            return csv_download("usage", names, hours_of(query).order_by("hour", "pk").values_list(*names).iterator())
        context = self.admin_site.each_context(request) | {
            "title": "Usage",
            "opts": self.opts,
            "days": int(days),
            "all_days": DAYS,
            "by": group,
            "all_by": list(GROUPS),
            **_charts(query, group),
        }
        return TemplateResponse(request, "admin/gateway/usagehour/charts.html", context)


def _one_of(value: str, known: Sequence[str], usual: str) -> str:
    return value if value in known else usual


def _query(days: int, group: str) -> UsageQuery:
    end = timezone.now().astimezone(dt.UTC)
    start = (end - dt.timedelta(days=days)).replace(minute=0, second=0, microsecond=0)
    if days <= HOURLY_DAYS:
        return UsageQuery(start=start, end=end, bucket="hour", group_by=(group,))
    return UsageQuery(start=start.replace(hour=0), end=end, bucket="day", group_by=(group,))


def _charts(query: UsageQuery, group: str) -> dict[str, Any]:
    rows = list(sums_by(query))
    column = GROUPS[group][-1]
    names = names_of(rows, column)
    times = times_between(query.start, query.end, query.bucket)
    form = "%d %b %H:%M" if query.bucket == "hour" else "%d %b"
    return {
        "names": names,
        "charts": [chart(one, rows, column=column, names=names, times=times, form=form) for one in MEASURES],
    }


# --- texts ------------------------------------------------------------------------------------------------------


@admin.register(Exchange)
class ExchangeAdmin(ReadOnly):
    """Prompts and answers that were kept; who may see them is a permission of its own, and they can be deleted."""

    list_display = ("created_at", "what", "key", "asked", "expert", "because", "id")
    list_filter = (("created_at", admin.DateFieldListFilter), "what", ByKey)
    list_select_related = ("key",)
    search_fields = ("id", "request_id")
    search_help_text = "The id of a response or decision, or of a request."
    paginator = ShortCount
    show_full_result_count = False
    fields = (
        "created_at",
        "what",
        "key",
        "asked",
        "expert",
        "because",
        "request_id",
        "decision",
        "previous",
        "asked_for",
        "answered",
    )
    readonly_fields = ("asked_for", "answered")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        # The page of one reads them; a hundred in a list may be gigabytes.
        return super().get_queryset(request).defer("request", "answer")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        term = search_term.strip()
        return (queryset.filter(Q(pk=term) | Q(request_id=term)) if term else queryset), False

    @admin.display(description="request")
    def asked_for(self, row: Exchange) -> str:
        return _pretty(row.request)

    @admin.display(description="answer")
    def answered(self, row: Exchange) -> str:
        return _pretty(row.answer)


def _pretty(value: Any) -> str:
    return format_html("<pre>{}</pre>", "\n".join(_lines(value)))


def _lines(value: Any, indent: str = "") -> Iterator[str]:
    """Yield JSON as people read it: texts with their own line breaks."""
    if isinstance(value, Mapping):
        pairs: Iterable[tuple[Any, Any]] = value.items()
    elif isinstance(value, list):
        pairs = enumerate(value, start=1)
    else:
        yield from (f"{indent}{line}" for line in str(value).splitlines() or [""])
        return
    for name, one in pairs:
        if one in (None, "", [], {}):
            continue
        if isinstance(one, str | int | float) and "\n" not in str(one):
            yield f"{indent}{name}: {one}"
        else:
            yield f"{indent}{name}:"
            yield from _lines(one, f"{indent}    ")
