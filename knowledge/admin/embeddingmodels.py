from typing import Any, cast

from asgiref.sync import async_to_sync
from django import forms
from django.contrib import admin, messages
from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest

from knowledge.admin.telling import tell_problems
from knowledge.admin.wording import counted
from knowledge.embedding import LENGTHS, Probe, probed
from knowledge.models import Collection, Embedding, EmbeddingModel, EmbeddingSource
from knowledge.switching import model_drop
from knowledge.vectors import index_drop
from routing.admin.fields import LinesField
from routing.admin.meanwhile import UndoesNothing
from routing.admin.profiles import GuardedDeletion
from routing.exceptions import EndpointError
from routing.models import InstalledModel

MOST_DIMENSIONS = 4000
EDITED = ("max_tokens", "query_prefix", "passage_prefix", "languages", "floor", "ceiling")
PREFIXES = ("query_prefix", "passage_prefix")


class EmbeddingModelForm(forms.ModelForm):
    languages = LinesField(
        required=False,
        help_text=EmbeddingModel._meta.get_field("languages").help_text,
        widget=forms.Textarea(attrs={"rows": 3}),
    )

    class Meta:
        model = EmbeddingModel
        fields = ("name", *EDITED)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for prefix in PREFIXES:
            if prefix in self.fields:
                cast(forms.CharField, self.fields[prefix]).strip = False  # "query: " ends in a space
        if self.instance.pk is None and "max_tokens" in self.fields:
            tokens = self.fields["max_tokens"]
            tokens.required, tokens.initial = False, None
            tokens.help_text = f"{tokens.help_text} Empty: as many as it shows that it reads."
        if "name" in self.fields:
            installed = ", ".join(_installed()) or "none yet"
            self.fields["name"].help_text = f"Its tag on the model servers. Installed there: {installed}."

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        floor, ceiling = cleaned.get("floor"), cleaned.get("ceiling")
        if floor is not None and ceiling is not None and ceiling <= floor:
            self.add_error("ceiling", "It must be greater than the floor.")
        if not self.errors and self.instance.pk is None and (found := self._probed(cleaned["name"])):
            self.instance.dimensions = found.dimensions
            cleaned["max_tokens"] = self._longest(cleaned["max_tokens"], found)
        return cleaned

    def _probed(self, name: str) -> Probe | None:
        """Return what the model shows itself to be; None, with an error, where that is of no use."""
        try:
            found = async_to_sync(probed)(name)
        except EndpointError as error:
            self.add_error("name", error.message)
            return None
        if found.dimensions > MOST_DIMENSIONS:
            message = f"Its vectors have {found.dimensions:,} numbers; at most {MOST_DIMENSIONS:,} can be indexed."
            self.add_error("name", message)
            return None
        return found

    def _longest(self, wanted: int | None, found: Probe) -> int:
        """Return the tokens of a text that the model is given, which are not more than it was found to read."""
        if wanted is not None and found.tokens < wanted and found.tokens < LENGTHS[0]:
            self.add_error("max_tokens", f"It refused texts of more than about {found.tokens:,} tokens. Say less.")
        return wanted or found.tokens


def _installed() -> list[str]:
    """Return the models on enabled servers that say they embed."""
    rows = InstalledModel.objects.filter(server__enabled=True, capabilities__contains=["embedding"])
    return sorted(set(rows.values_list("name", flat=True)))


@admin.register(EmbeddingModel)
class EmbeddingModelAdmin(UndoesNothing, GuardedDeletion):
    form = EmbeddingModelForm
    list_display = ("name", "source", "dimensions", "vectors", "indexed", "max_tokens", "known_languages", "used_by")
    search_fields = ("name",)
    actions = ("drop", "delete_selected")
    fieldsets = (
        (None, {"fields": ("name", "source", "dimensions", "max_tokens", "languages")}),
        (
            "What it is given",
            {
                "fields": PREFIXES,
                "description": "Many models were trained with such words, and find less without them. Once there are "
                "vectors, they stay as they are.",
            },
        ),
        (
            "What its cosines mean",
            {
                "fields": (("floor", "ceiling"),),
                "description": "Between the two lies how well a passage fits, 0 to 1, in which several models compare.",
            },
        ),
        ("What was made by it", {"fields": ("vectors", "indexed", "used_by")}),
    )
    readonly_fields = ("source", "dimensions", "vectors", "indexed", "used_by")

    def get_queryset(self, request: HttpRequest) -> QuerySet[EmbeddingModel]:
        models: QuerySet[EmbeddingModel] = super().get_queryset(request)
        # Those that are found, for which there is an index; counting all would read every vector.
        vectors = Embedding.objects.filter(embedding_model=OuterRef("pk"), findable=True).order_by()
        counts = vectors.values("embedding_model").annotate(number=Count("*")).values("number")
        return models.prefetch_related("collections").annotate(vectors_there=Coalesce(Subquery(counts), 0))

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is not None:
            return self.fieldsets
        # Where it runs and how wide its vectors are nobody has to say.
        return ((None, {"fields": ("name", "max_tokens", "languages")}), *self.fieldsets[1:-1])

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is None:
            return self.readonly_fields
        built_in = obj.source == EmbeddingSource.IN_PROCESS
        has_vectors = built_in or Embedding.objects.filter(embedding_model=obj).exists()
        fixed = ("max_tokens", *PREFIXES) if built_in else PREFIXES if has_vectors else ()
        return ("name", *self.readonly_fields, *fixed)

    def reason_to_keep(self, row: EmbeddingModel) -> str:
        if row.source == EmbeddingSource.IN_PROCESS:
            return f"“{row}” comes with this version, and new collections count on it; it cannot be deleted."
        using = [str(collection) for collection in Collection.objects.filter(embedding_model=row)]
        if using:
            return f"“{row}” is used by {', '.join(using)}. Embed them with another model first."
        kept = [str(collection) for collection in Collection.objects.keeping(row)]
        if kept:
            return f"“{row}” is kept beside what {', '.join(kept)} is searched by. Give it up there first."
        return ""

    def get_deleted_objects(
        self, objs: Any, request: HttpRequest
    ) -> tuple[list[Any], dict[str, int], set[str], list[Any]]:
        """Count the vectors that go, instead of naming each."""
        models = list(objs)
        counts = {
            "embedding models": len(models),
            "vectors": Embedding.objects.filter(embedding_model__in=models).count(),
        }
        lacking = set() if self.has_delete_permission(request) else {str(self.opts.verbose_name)}
        return [*map(str, models)], {name: number for name, number in counts.items() if number}, lacking, []

    def delete_model(self, request: HttpRequest, model: EmbeddingModel) -> None:
        index_drop(model)
        super().delete_model(request, model)

    def delete_queryset(self, request: HttpRequest, models: QuerySet[EmbeddingModel]) -> None:
        for model in models:
            self.delete_model(request, model)

    @admin.action(description="Delete the vectors of the selected embedding models", permissions=["delete"])
    def drop(self, request: HttpRequest, models: QuerySet[EmbeddingModel]) -> None:
        done, problems = 0, []
        for model in models:
            try:
                done += len(model_drop(model=model))
            except EndpointError as error:
                problems.append(error.message)
        tell_problems(self, request, problems)
        if done:
            words = f"Their vectors are being deleted from {counted(done, 'collection')}, in portions."
            self.message_user(request, words, messages.SUCCESS)
        elif not problems:
            self.message_user(request, "There were no vectors to delete.", messages.WARNING)

    # --- columns

    @admin.display(description="vectors", ordering="vectors_there")
    def vectors(self, model: EmbeddingModel) -> str:
        return f"{cast(Any, model).vectors_there:,}"

    @admin.display(description="languages")
    def known_languages(self, model: EmbeddingModel) -> str:
        return ", ".join(model.languages) or "every one"

    @admin.display(description="used by")
    def used_by(self, model: EmbeddingModel) -> str:
        return ", ".join(str(one) for one in model.collections.all() if not one.scratch) or "no collection"
