"""What the pages of keys and of groups have in common: the form of a policy, and what is said of a doubtful one."""

from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import messages
from django.db.models import TextField
from django.http import HttpRequest
from django.utils.text import capfirst

from gateway.keyring.wording import fitting_nothing
from gateway.models import Policy
from gateway.policy import Scope
from routing.admin.fields import LinesField
from routing.admin.meanwhile import UndoesNothing

WHAT = ("scopes", "allowed_models", "allowed_collections", "allowed_addresses")
HOW_MUCH = (
    ("requests_per_minute", "tokens_per_minute", "concurrent_requests"),
    ("tokens_per_day", "tokens_per_month"),
    ("cost_per_day", "cost_per_month"),
)
POLICY_FIELDSETS: Any = (
    ("What it may do", {"fields": WHAT}),
    ("How much", {"fields": HOW_MUCH, "description": "Empty: no limit."}),
    ("What is kept", {"fields": ("keeps_texts",)}),
)


def _lines(name: str) -> LinesField:
    column: Any = Policy._meta.get_field(name)
    return LinesField(
        required=False,
        label=capfirst(column.verbose_name),
        help_text=column.help_text,
        widget=forms.Textarea(attrs={"rows": 4, "cols": 60}),
    )


def scopes_field(help_text: str) -> forms.MultipleChoiceField:
    return forms.MultipleChoiceField(
        required=False,
        choices=[(scope.value, scope.label) for scope in Scope],
        widget=forms.CheckboxSelectMultiple,
        help_text=help_text,
    )


class PolicyForm(forms.ModelForm):
    scopes = scopes_field(str(Policy._meta.get_field("scopes").help_text))
    allowed_models = _lines("allowed_models")
    allowed_collections = _lines("allowed_collections")
    allowed_addresses = _lines("allowed_addresses")


class PolicyAdmin(UndoesNothing):
    """Saves a policy, and tells what of it is about nothing that there is."""

    form = PolicyForm
    formfield_overrides = {TextField: {"widget": forms.Textarea(attrs={"rows": 3, "cols": 60})}}

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        self.store(obj, form, change)
        for warning in fitting_nothing(obj):
            self.message_user(request, f"{obj}: {warning}", messages.WARNING)

    def store(self, obj: Any, form: Any, change: bool) -> None:
        """Write the row."""
        obj.save()


class Suggesting(forms.TextInput):
    """A line of text with a list of what others have written there."""

    template_name = "gateway/suggesting.html"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.suggestions: list[str] = []

    @classmethod
    def suggest(cls, form: forms.BaseForm, name: str, suggestions: Callable[[], list[str]]) -> None:
        """Fill the list of a form's field; on a page that may only be read there is no such field."""
        if name in form.fields and isinstance(widget := form.fields[name].widget, cls):
            widget.suggestions = suggestions()

    def get_context(self, name: str, value: Any, attrs: dict[str, Any] | None) -> dict[str, Any]:
        listed = f"{name}-suggestions"
        context = super().get_context(name, value, {**(attrs or {}), "list": listed})
        return context | {"listed": listed, "suggestions": self.suggestions}
