"""A text that is uploaded as a file."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError


class TextFileField(forms.FileField):
    """Gives the text of a file in UTF-8; ``too_large`` says what to do about one over ``max_bytes``."""

    def __init__(self, *, max_bytes: int, too_large: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.max_bytes = max_bytes
        self.too_large = too_large

    def clean(self, data: Any, initial: Any = None) -> Any:
        uploaded = super().clean(data, initial)
        if uploaded.size > self.max_bytes:
            message = f"The file is larger than {self.max_bytes // 1_000_000} MB. {self.too_large}"
            raise ValidationError(message.strip())
        try:
            return uploaded.read().decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise ValidationError("This is no text in UTF-8.") from error
