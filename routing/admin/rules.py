from typing import Any

from django import forms
from django.contrib import admin

from routing.models import RoutingRule


class LinesField(forms.CharField):
    """A list of texts, edited one a line."""

    widget = forms.Textarea(attrs={"rows": 8})

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(value) if isinstance(value, list) else value

    def to_python(self, value: Any) -> Any:
        lines = [line.strip() for line in (super().to_python(value) or "").splitlines()]
        return list(dict.fromkeys(line for line in lines if line))


class RoutingRuleForm(forms.ModelForm):
    keywords = LinesField(help_text=RoutingRule._meta.get_field("keywords").help_text)

    class Meta:
        model = RoutingRule
        fields = ("name", "priority", "enabled", "keywords", "expert", "note")


@admin.register(RoutingRule)
class RoutingRuleAdmin(admin.ModelAdmin):
    form = RoutingRuleForm
    list_display = ("name", "priority", "enabled", "expert", "first_keywords")
    list_editable = ("priority", "enabled")
    list_filter = ("enabled", "expert")
    list_select_related = ("expert",)
    search_fields = ("name", "keywords", "note")
    autocomplete_fields = ("expert",)

    @admin.display(description="keywords")
    def first_keywords(self, rule: RoutingRule) -> str:
        shown = rule.keywords[:6]
        return ", ".join(shown) + (f" … ({len(rule.keywords)})" if len(rule.keywords) > len(shown) else "")
