"""Fields of forms for texts, lists of them and JSON."""

import json
from typing import Any

from django import forms
from django.core.exceptions import ValidationError


class TextField(forms.CharField):
    """A text as a client would send it: browsers send the line ends of forms as two characters."""

    def __init__(self, *, rows: int, **kwargs: Any) -> None:
        super().__init__(strip=False, widget=forms.Textarea(attrs={"rows": rows, "cols": 100}), **kwargs)

    def to_python(self, value: Any) -> str:
        return str(super().to_python(value)).replace("\r\n", "\n")


class ObjectField(forms.CharField):
    """A JSON object; it is shown again as it was typed."""

    widget = forms.Textarea(attrs={"rows": 2, "cols": 60})

    def clean(self, value: Any) -> Any:
        text = super().clean(value)
        try:
            found = json.loads(text) if text else {}
            json.dumps(found, ensure_ascii=False).encode()  # half of a character could not be shown again
        except (ValueError, RecursionError) as error:
            raise ValidationError(f"This is no JSON: {error}.") from error
        if not isinstance(found, dict):
            raise ValidationError('Enter a JSON object, such as {"x-team": "legal"}.')
        return found


class LinesField(forms.CharField):
    """A list of texts, edited one a line."""

    widget = forms.Textarea(attrs={"rows": 8})

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(value) if isinstance(value, list) else value

    def to_python(self, value: Any) -> Any:
        lines = [line.strip() for line in (super().to_python(value) or "").splitlines()]
        return list(dict.fromkeys(line for line in lines if line))
