from django.contrib import admin, messages
from django.contrib.admin.utils import quote
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from routing.admin.examples import with_chosen_expert
from routing.admin.readonly import ReadOnly
from routing.admin.rowfeedback import THUMBS
from routing.models import Expert, Feedback, RouteExample

NO_PROMPT = "not given"
_SHOWN = 80


@admin.register(Feedback)
class FeedbackAdmin(ReadOnly):
    list_display = ("created_at", "thumb", "was", "expert", "said", "start", "sender", "source", "proposal_state")
    list_display_links = ("created_at", "start")
    list_filter = ("rating", "source", "was", "expert", ("created_at", admin.DateFieldListFilter), "key_name")
    list_select_related = ("expert", "user", "proposal")
    search_fields = ("decision", "prompt", "comment")
    search_help_text = "Part of a decision's id, of a comment, or of a prompt."
    show_full_result_count = False
    actions = ("make_examples", "make_examples_for")
    fields = (
        "created_at",
        "thumb",
        "was",
        "expert",
        "comment",
        "prompt",
        "of_decision",
        "sender",
        "source",
        "proposal",
    )
    readonly_fields = ("thumb", "of_decision", "sender")

    def has_example_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("routing.add_routeexample")

    # --- columns

    @admin.display(description="rating", ordering="rating")
    def thumb(self, feedback: Feedback) -> str:
        return THUMBS.get(feedback.rating) or "–"

    @admin.display(description="comment")
    def said(self, feedback: Feedback) -> str:
        return _start(feedback.comment)

    @admin.display(description="prompt")
    def start(self, feedback: Feedback) -> str:
        return _start(feedback.prompt) or NO_PROMPT

    @admin.display(description="sender", ordering="key_name")
    def sender(self, feedback: Feedback) -> str:
        return feedback.key_name or str(feedback.user or "–")

    @admin.display(description="proposal")
    def proposal_state(self, feedback: Feedback) -> str:
        return str(feedback.proposal.get_status_display()) if feedback.proposal else "–"

    @admin.display(description="decision")
    def of_decision(self, feedback: Feedback) -> SafeString | str:
        try:
            address = reverse("admin:routing_decisionrecord_change", args=[quote(feedback.decision)])
        except NoReverseMatch:  # it was written past the door
            return feedback.decision
        return format_html('<a href="{}">{}</a>', address, feedback.decision)

    # --- actions

    @admin.action(description="Make examples of these, for the experts they name", permissions=["example"])
    def make_examples(self, request: HttpRequest, rows: QuerySet[Feedback]) -> None:
        """Make examples for who should have answered or, where the answer was good, who did."""
        experts = {expert.slug: expert for expert in Expert.objects.all()}
        found = [
            (row, row.expert or (experts.get(row.was) if row.rating > 0 else None))
            for row in self._given(request, rows)
        ]
        if nameless := sum(expert is None for _, expert in found):
            said = (
                f"{nameless} of the selected name no expert; choose one with “Make examples of these for one expert …”."
            )
            self.message_user(request, said, messages.WARNING)
        for row, expert in found:
            if expert is not None:
                self._example(request, row, expert)

    @admin.action(description="Make examples of these for one expert …", permissions=["example"])
    def make_examples_for(self, request: HttpRequest, rows: QuerySet[Feedback]) -> HttpResponse | None:
        given = self._given(request, rows)
        if not given:
            return None
        return with_chosen_expert(
            self,
            request,
            [_start(row.prompt) for row in given],
            title="Who should answer these?",
            action="make_examples_for",
            work=lambda expert: self._examples(request, given, expert),
        )

    def _given(self, request: HttpRequest, rows: QuerySet[Feedback]) -> list[Feedback]:
        """Return the rows whose prompt may be learnt from, and say how many others there are."""
        given = [row for row in rows if row.prompt]
        if missing := len(rows) - len(given):
            said = f"The prompt of {missing} of the selected was neither kept nor given; they are left out."
            self.message_user(request, said, messages.WARNING)
        return given

    @transaction.atomic
    def _examples(self, request: HttpRequest, rows: list[Feedback], expert: Expert) -> None:
        for row in rows:
            self._example(request, row, expert)

    def _example(self, request: HttpRequest, row: Feedback, expert: Expert) -> None:
        correction = RouteExample.objects.correct(row.prompt, expert, user=request.user)
        log = self.log_addition if correction.before is None else self.log_change
        log(request, correction.example, f"From feedback on decision {row.decision}.")
        self.message_user(request, str(correction), messages.SUCCESS)


def _start(text: str) -> str:
    line = " ".join(text[: 5 * _SHOWN].split())
    return line if len(line) <= _SHOWN else f"{line[: _SHOWN - 1]}…"
