"""What became of something, told in a few lines."""

from collections.abc import Sequence

from django.contrib import admin, messages
from django.http import HttpRequest

from knowledge.revisions import Received, is_published

SHOWN_PROBLEMS = 20


def tell_problems(page: admin.ModelAdmin, request: HttpRequest, problems: Sequence[str]) -> None:
    """Show the first of ``problems`` as messages, and how many more there are."""
    for problem in problems[:SHOWN_PROBLEMS]:
        page.message_user(request, problem, messages.ERROR)
    more = len(problems) - SHOWN_PROBLEMS
    if more > 0:
        page.message_user(request, f"… and {more:,} more.", messages.ERROR)


def tell_received(page: admin.ModelAdmin, request: HttpRequest, received: Received, done: str) -> None:
    """Say that something is done, and when it is found."""
    if is_published(received):
        words = "It is found as of now."
    elif received.document.collection.review:
        words = "It is found once somebody has approved it; until then, what was there before is."
    else:
        words = "It is found in a moment, once it is embedded; until then, what was there before is."
    page.message_user(request, f"{done} {words}", messages.SUCCESS)
