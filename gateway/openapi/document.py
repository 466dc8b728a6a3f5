"""The description of the whole API: paths and serializers from drf-spectacular, the rest from the table of operations.

drf-spectacular sees REST framework's views alone, and most bodies here are read without a serializer, as OpenAI's do
not fit one. So what a method takes and gives is looked up in operations.py; serializers become components.
"""

import functools
import re
from collections.abc import Mapping
from typing import Any

from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import ComponentRegistry
from rest_framework.serializers import Serializer

from gateway.keyring.serializers import KeySerializer, RotationSerializer
from gateway.openapi import fields  # noqa: F401  # makes the serializers' fields known
from gateway.openapi.components import COMPONENTS
from gateway.openapi.operation import Operation
from gateway.openapi.operations import OPERATIONS
from gateway.openapi.shapes import TEXT, Schema
from gateway.ragapi.collections import ChangeSerializer, CollectionSerializer
from gateway.ragapi.documents import DocumentSerializer

PARAMETER = re.compile(r"\{(\w+)\}")
SERIALIZERS: Mapping[str, tuple[type[Serializer[Any]], ...]] = {
    "/v1/rag/collections/{slug}": (CollectionSerializer, ChangeSerializer),
    "/v1/rag/documents/{number}": (DocumentSerializer,),
    "/v1/keys/{number}/rotate": (KeySerializer, RotationSerializer),
}
"""Serializers that become components, at the paths of their views."""
NUMBERED = ("number", "key_id")
"""Parameters of paths that are whole numbers."""


class TableSchema(AutoSchema):
    """Describes a view by the table of operations (REST_FRAMEWORK's DEFAULT_SCHEMA_CLASS)."""

    def get_operation(
        self, path: str, path_regex: str, path_prefix: str, method: str, registry: ComponentRegistry
    ) -> dict[str, Any] | None:
        operation = OPERATIONS.get((method.upper(), path))
        self.registry, self.path, self.method = registry, path, method.upper()
        for serializer in SERIALIZERS.get(path, ()):
            for direction in ("request", "response"):
                self.resolve_serializer(serializer, direction)
        return _described(operation, method, path) if operation else None


class Generator(SchemaGenerator):
    """Adds what REST framework does not know of: the doors that wait or stream."""

    def parse(self, input_request: Any, public: bool) -> dict[str, Any]:
        found: dict[str, Any] = super().parse(input_request, public)
        for (method, path), operation in OPERATIONS.items():
            found.setdefault(path, {}).setdefault(method.lower(), _described(operation, method, path))
        return found


def _described(operation: Operation, method: str, path: str) -> dict[str, Any]:
    words = [method.lower(), *(word for word in re.split(r"\W+", path) if word)]
    parameters: Mapping[str, Schema] = {
        name: {"type": "integer", "minimum": 1} if name in NUMBERED else TEXT for name in PARAMETER.findall(path)
    }
    return operation.described("_".join(words), parameters)


def with_components(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Add the bodies that have no serializer, and how to show a key (SPECTACULAR_SETTINGS' POSTPROCESSING_HOOKS)."""
    components = result.setdefault("components", {})
    components["schemas"] = {**components.get("schemas", {}), **COMPONENTS}
    components["securitySchemes"] = {
        "key": {"type": "http", "scheme": "bearer", "description": "An API key, such as sk-moe-…"}
    }
    return result


@functools.cache
def document() -> dict[str, Any]:
    """Return the description; it is the same as long as the process lives."""
    found: dict[str, Any] = Generator().get_schema(request=None, public=True)
    return found
