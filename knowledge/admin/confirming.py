"""The page between a list and an action that is not done by accident."""

from collections.abc import Sequence

from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse


def is_confirmed(request: HttpRequest) -> bool:
    return request.POST.get("post") == "yes"


def confirmation(
    page: admin.ModelAdmin, request: HttpRequest, *, title: str, sentences: Sequence[str], action: str, reason: str = ""
) -> HttpResponse:
    """Ask whether ``action`` is meant for what is selected; the same rows come back with the answer.

    With ``reason``, a question, it asks that too, and a "reason" comes back.
    """
    context = page.admin_site.each_context(request) | {
        "title": title,
        "opts": page.opts,
        "sentences": sentences,
        "action": action,
        "reason": reason,
        "selected": request.POST.getlist(ACTION_CHECKBOX_NAME),
        "checkbox": ACTION_CHECKBOX_NAME,
        "across": request.POST.get("select_across", "0"),
        "back": reverse(f"admin:{page.opts.app_label}_{page.opts.model_name}_changelist"),
    }
    return TemplateResponse(request, "admin/knowledge/confirm.html", context)
