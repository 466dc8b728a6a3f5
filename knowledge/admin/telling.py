"""What went wrong with some of many, told in a few lines."""

from collections.abc import Sequence

from django.contrib import admin, messages
from django.http import HttpRequest

SHOWN_PROBLEMS = 20


def tell_problems(page: admin.ModelAdmin, request: HttpRequest, problems: Sequence[str]) -> None:
    """Show the first of ``problems`` as messages, and how many more there are."""
    for problem in problems[:SHOWN_PROBLEMS]:
        page.message_user(request, problem, messages.ERROR)
    more = len(problems) - SHOWN_PROBLEMS
    if more > 0:
        page.message_user(request, f"… and {more:,} more.", messages.ERROR)
