"""What is done with documents that are not in their source any more; deleting them is done as with any others."""

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from knowledge.admin.wording import counted
from knowledge.models import Document
from knowledge.watching.gone import documents_keep


class GoneActions(admin.ModelAdmin):
    @admin.action(description="Keep the selected documents that are gone from their sources", permissions=["change"])
    def keep(self, request: HttpRequest, documents: QuerySet[Document]) -> None:
        if number := documents_keep(documents):
            words = f"{counted(number, 'document')} kept; no watched source changes them any more."
            self.message_user(request, words, messages.SUCCESS)
        else:
            self.message_user(request, "None of them was gone from its source.", messages.WARNING)
