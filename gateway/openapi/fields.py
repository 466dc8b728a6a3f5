"""What the serializers' own fields are in the description, which drf-spectacular cannot tell of itself."""

from typing import Any

from drf_spectacular.extensions import OpenApiSerializerFieldExtension

from gateway.openapi.shapes import ANY_OBJECT, TEXT, Schema, const, one_of


class _Field(OpenApiSerializerFieldExtension):
    """Describes the fields of one class; those that import this module make it known."""

    match_subclasses = True

    def schema(self) -> Schema:
        raise NotImplementedError

    def map_serializer_field(self, auto_schema: Any, direction: Any) -> dict[str, Any]:
        return dict(self.schema())


class Constant(_Field):
    target_class = "gateway.ragapi.serializers.ConstantField"

    def schema(self) -> Schema:
        return const(self.target.value)


class Metadata(_Field):
    target_class = "gateway.ragapi.serializers.MetadataField"

    def schema(self) -> Schema:
        return ANY_OBJECT


class Level(_Field):
    target_class = "gateway.ragapi.collections.LevelField"

    def schema(self) -> Schema:
        return one_of(self.target.choices)


class EmbeddingModel(_Field):
    target_class = "gateway.ragapi.collections.EmbeddingModelField"

    def schema(self) -> Schema:
        return TEXT
