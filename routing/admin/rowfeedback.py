"""What can be said of decisions in their list: thumbs, and who should have answered, by one button of the row."""

from collections.abc import Callable, Iterable
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.functional import SimpleLazyObject
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from routing.learning.feedback import feedback_give
from routing.models import DecisionRecord, Expert, Feedback, RouteExample

THUMBS = {1: "👍", 0: "", -1: "👎"}
_TITLES = {1: "This was the right expert", -1: "This was not the right expert"}
_BUTTON = '<button name="said" value="{}" title="{}">{}</button>'


class RowFeedback(admin.ModelAdmin):
    """A list of decisions in whose rows something can be said of each.

    The buttons belong to the form around the list, so they come with its token and need no script. What one says is
    in its value: a decision's id and, after a space, a rating (+1, -1) or an expert's number.
    """

    change_list_template = "admin/routing/decisionrecord/change_list.html"

    def has_correct_permission(self, request: HttpRequest) -> bool:
        """Whoever may add examples may say who should have answered."""
        return request.user.has_perm("routing.add_routeexample")

    def has_rate_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("routing.add_feedback")

    def get_queryset(self, request: HttpRequest) -> QuerySet[DecisionRecord]:
        said = Feedback.objects.filter(decision=OuterRef("pk")).order_by("-id")
        records: QuerySet[DecisionRecord] = super().get_queryset(request)
        return records.annotate(
            said_rating=Subquery(said.values("rating")[:1]), said_expert=Subquery(said.values("expert__name")[:1])
        )

    def get_list_display(self, request: HttpRequest) -> Any:
        columns = super().get_list_display(request)
        return (*columns, self._said_column(request))

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        if request.method == "POST" and "said" in request.POST:
            self._say(request, request.POST["said"])
            return HttpResponseRedirect(request.get_full_path())
        return super().changelist_view(request, extra_context)

    # --- the column

    def _said_column(self, request: HttpRequest) -> Callable[[Any], SafeString]:
        may_rate, may_correct = self.has_rate_permission(request), self.has_correct_permission(request)
        experts: Any = SimpleLazyObject(lambda: list(Expert.objects.filter(enabled=True)))

        @admin.display(description="feedback")
        def feedback(record: Any) -> SafeString:
            buttons = [_already(record)]
            if may_rate:
                buttons += [_thumb(record, 1), _thumb(record, -1)]
            if may_correct and record.prompt:
                buttons.append(_menu(record, experts))
            return format_html_join(" ", "{}", ((one,) for one in buttons if one))

        return feedback

    # --- what a button says

    def _say(self, request: HttpRequest, said: str) -> None:
        pk, _, what = said.partition(" ")
        record = DecisionRecord.objects.filter(pk=pk).first()
        if record is None or not self.has_view_permission(request, record):
            self.message_user(request, "There is no such decision any more.", messages.ERROR)
        elif what in ("+1", "-1"):
            self._rate(request, record, int(what))
        else:
            expert = Expert.objects.filter(pk=int(what)).first() if what.isdecimal() else None
            if expert is None:
                self.message_user(request, "There is no such expert any more.", messages.ERROR)
            elif not record.prompt:
                self.message_user(request, "The prompt of this decision was not kept.", messages.ERROR)
            else:
                self.correct_all(request, [record], expert)

    def _rate(self, request: HttpRequest, record: DecisionRecord, rating: int) -> None:
        if not self.has_rate_permission(request):
            raise PermissionDenied
        earlier = Feedback.objects.filter(
            decision=record.pk, source=Feedback.Source.ADMIN, user=request.user.pk
        ).first()
        feedback_give(
            record=record,
            source=Feedback.Source.ADMIN,
            rating=rating,
            # A thumb down does not take back who should have answered.
            expert=earlier.expert if earlier and rating < 0 else None,
            comment=earlier.comment if earlier else "",
            user=request.user,
        )
        self.message_user(request, f"{THUMBS[rating]} for {record.expert}.", messages.SUCCESS)

    @transaction.atomic
    def correct_all(self, request: HttpRequest, records: Iterable[DecisionRecord], expert: Expert) -> None:
        """Make the prompts examples for ``expert``, and remember that it should have been this one."""
        if not self.has_correct_permission(request):
            raise PermissionDenied
        for record in records:
            correction = RouteExample.objects.correct(record.prompt, expert, user=request.user)
            feedback_give(
                record=record,
                source=Feedback.Source.ADMIN,
                rating=_rating(record, expert),
                expert=expert,
                user=request.user,
            )
            if correction.before is None:
                self.log_addition(request, correction.example, f"Corrected decision {record}.")
            else:
                self.log_change(request, correction.example, f"Corrected decision {record}.")
            self.message_user(request, str(correction), messages.SUCCESS)


def _rating(record: DecisionRecord, expert: Expert) -> int:
    return 1 if record.expert == expert.slug else -1


def _already(record: Any) -> SafeString | str:
    if record.said_rating is None:
        return ""
    should = f"→ {record.said_expert}" if record.said_expert else ""
    return format_html('<span class="said">{} {}</span>', THUMBS.get(record.said_rating, ""), should)


def _thumb(record: DecisionRecord, rating: int) -> SafeString:
    return format_html(_BUTTON, f"{record.pk} {rating:+d}", _TITLES[rating], THUMBS[rating])


def _menu(record: DecisionRecord, experts: Iterable[Expert]) -> SafeString:
    buttons = format_html_join(
        "",
        '<button name="said" value="{}">{}</button>',
        ((f"{record.pk} {expert.pk}", str(expert)) for expert in experts if expert.slug != record.expert),
    )
    return format_html("<details><summary>should have been …</summary>{}</details>", buttons)
