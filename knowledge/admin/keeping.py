"""The pages of kept history: who changed a row, when, why, and what of it."""

from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from simple_history.admin import SimpleHistoryAdmin


class HistoryPages(SimpleHistoryAdmin):
    """History that is read: nobody goes back by it, as what hangs on a row would not follow."""

    object_history_list_template = "admin/knowledge/history_list.html"

    def revert_disabled(self, request: HttpRequest, obj: Any = None) -> bool:
        return True

    def history_form_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        raise Http404("There is no form of what a row was.")
