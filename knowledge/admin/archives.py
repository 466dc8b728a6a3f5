"""The pages on which a collection is carried away as a file, and made of one."""

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from knowledge.admin.rights import may, may_see
from knowledge.admin.wording import counted
from knowledge.archive import collection_import
from knowledge.archive.download import archive_download
from knowledge.models import Collection
from routing.exceptions import EndpointError


def may_export(request: HttpRequest) -> bool:
    """Tell whether somebody may see all that an archive holds."""
    return all(may_see(request, model) for model in ("collection", "document", "chunk", "chunkedit", "goldenquery"))


def may_import(request: HttpRequest) -> bool:
    return all(may(request, "add", model) for model in ("collection", "document"))


class ImportForm(forms.Form):
    file = forms.FileField(help_text="An archive that was exported here or elsewhere.")
    slug = forms.SlugField(
        label="Short name", required=False, max_length=100, help_text="Empty: the one that it had when it was exported."
    )


class ArchivePages(admin.ModelAdmin):
    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("<int:pk>/export/", view(self.export_view), name="knowledge_collection_export"),
            path("import/", view(self.import_view), name="knowledge_collection_import"),
            *super().get_urls(),
        ]

    def export_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Give a collection as a file."""
        collection = self.get_object(request, str(pk))
        if collection is None:
            raise Http404("There is no such collection.")
        if not may_export(request):
            raise PermissionDenied
        response = archive_download(collection)
        self.log_change(request, collection, "Exported as a file.")
        return response  # type: ignore[return-value]  # a kind of it, for all that is done with it

    def import_view(self, request: HttpRequest) -> HttpResponse:
        """Take an archive, and go to the collection that was made of it."""
        if not may_import(request):
            raise PermissionDenied
        form = ImportForm(request.POST, request.FILES) if request.method == "POST" else ImportForm()
        if form.is_valid() and (collection := self._imported(request, form)):
            return HttpResponseRedirect(reverse("admin:knowledge_collection_change", args=[collection.pk]))
        context = self.admin_site.each_context(request) | {
            "title": "Import a collection",
            "opts": self.opts,
            "form": form,
        }
        return TemplateResponse(request, "admin/knowledge/collection/import.html", context)

    def _imported(self, request: HttpRequest, form: forms.Form) -> Collection | None:
        try:
            imported = collection_import(file=form.cleaned_data["file"], slug=form.cleaned_data["slug"])
        except EndpointError as error:
            form.add_error("slug" if error.param == "slug" else "file", error.message)
            return None
        assert imported.collection is not None, "only a plan has none"
        self.log_addition(request, imported.collection, "Imported from a file.")
        what = f"{counted(imported.documents, 'document')} and {counted(imported.chunks, 'chunk')}"
        self.message_user(request, f"“{imported.collection}” is imported, with {what}.", messages.SUCCESS)
        for note in imported.notes:
            self.message_user(request, note, messages.WARNING)
        return imported.collection
