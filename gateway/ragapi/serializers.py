"""What the resources' serializers share: nothing that a client sends is passed over in silence."""

import re
from collections.abc import Mapping
from typing import Any, TypeVar

from django.db.models import Model
from rest_framework import serializers

from gateway.fields import unsupported
from gateway.ragapi.metadata import checked_metadata, is_storable
from routing.exceptions import BadRequest

Row = TypeVar("Row", bound=Model)

LANGUAGE = re.compile(r"(?:[a-z]{2,3})?")


class Strict(serializers.Serializer[Any]):
    """Refuses fields that it does not write, so that nobody takes them for written."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, Mapping):
            writable = [name for name, field in self.fields.items() if not field.read_only]
            for name in data:
                if name not in self.fields:
                    raise unsupported(
                        name, f"There is no field '{name}'. Those that can be set: {', '.join(writable)}."
                    )
                if name not in writable:
                    raise unsupported(name, f"'{name}' cannot be set. What can: {', '.join(writable)}.")
        return super().to_internal_value(data)


class StrictSerializer(Strict, serializers.ModelSerializer[Row]):
    """A row, of which only that is written which can be."""


class ConstantField(serializers.ReadOnlyField):
    """The same for every object: what OpenAI's objects say they are."""

    def __init__(self, value: str) -> None:
        super().__init__(source="*")
        self.value = value

    def to_representation(self, value: Any) -> str:
        return self.value


class MetadataField(serializers.Field[dict[str, Any], Any, dict[str, Any], Any]):
    """A document's metadata."""

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        return checked_metadata(data, self.field_name or "metadata")

    def to_representation(self, value: dict[str, Any]) -> dict[str, Any]:
        return value


class LanguageField(serializers.CharField):
    """A language's code, or "" for one that is to be recognised."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_blank=True, max_length=8, **options)

    def to_internal_value(self, data: Any) -> str:
        return checked_language(super().to_internal_value(data), self.field_name or "language")


def checked_language(text: str, where: str) -> str:
    """Return ``text`` if it may be a language's code; raises BadRequest."""
    if not LANGUAGE.fullmatch(text):
        raise BadRequest(
            f"'{where}' must be a language's code of two or three letters, such as \"de\".",
            param=where,
            code="invalid_value",
        )
    return text


def checked_text(text: str, where: str, longest: int) -> str:
    """Return ``text`` if it can be kept; raises BadRequest."""
    if len(text) > longest:
        message = f"'{where}' has {len(text):,} characters; {longest:,} are the most."
    elif not is_storable(text):
        message = f"'{where}' has characters that no text can have (NUL, or half of a surrogate pair)."
    else:
        return text
    raise BadRequest(message, param=where, code="invalid_value")
