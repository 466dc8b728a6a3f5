"""Languages as forms take them, and the filter by language, of documents and of chunks."""

import re
from typing import Any

from django.contrib import admin
from django.core.exceptions import ValidationError
from django.http import HttpRequest

from knowledge.models import Collection

NOT_KNOWN = "-"


def language_code(text: str) -> str:
    """Return the language code that somebody typed, "" for none; raises ValidationError for what is no code."""
    code = text.strip().lower()
    if code and not re.fullmatch(r"[a-z]{2,3}", code):
        raise ValidationError("Enter a code of two or three letters, such as de, or nothing.")
    return code


class LanguageFilter(admin.SimpleListFilter):
    """Offers what collections say of their documents: asking every chunk for its language would take long."""

    title = "language"
    parameter_name = "language"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        rows = Collection.objects.lasting().values_list("languages", flat=True)
        return [(code or NOT_KNOWN, code or "not known") for code in sorted({code for row in rows for code in row})]

    @property
    def wanted(self) -> str | None:
        """The code that was chosen, "" for texts whose language is not known, None for all."""
        value = self.value()
        return "" if value == NOT_KNOWN else value
