"""A key as JSON: its text is never part of it."""

from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from rest_framework import serializers

from gateway.models import ApiKey
from gateway.models.keys import LONGEST_OVERLAP
from gateway.policy import Limits, Scope
from gateway.ragapi.serializers import ConstantField, Strict, StrictSerializer

POLICY = ("scopes", "allowed_models", "allowed_collections", "allowed_addresses")
HANDED_OUT = [scope.value for scope in Scope if scope is not Scope.ADMIN]


class ScopeField(serializers.ListField):
    """What a key may do. That it may administer is for people to say, in admin or on the command line."""

    child = serializers.CharField()

    def to_internal_value(self, data: Any) -> list[str]:
        found = list(dict.fromkeys(super().to_internal_value(data)))
        if unknown := [name for name in found if name not in HANDED_OUT]:
            why = " Only an administrator hands it out, in admin or by command." if unknown[0] == Scope.ADMIN else ""
            raise serializers.ValidationError(
                f"The scope '{unknown[0]}' cannot be given here.{why} There are: {', '.join(HANDED_OUT)}."
            )
        return found


class KeySerializer(StrictSerializer[ApiKey]):
    object = ConstantField("api_key")
    scopes = ScopeField(required=False)
    owner = serializers.SlugRelatedField(
        slug_field=get_user_model().USERNAME_FIELD,
        queryset=get_user_model()._default_manager.all(),
        required=False,
        allow_null=True,
        error_messages={"does_not_exist": "There is no user '{value}'."},
    )
    last_used_at = serializers.DateTimeField(source="use.last_used_at", read_only=True, default=None, allow_null=True)
    last_address = serializers.CharField(source="use.last_address", read_only=True, default=None, allow_null=True)

    class Meta:
        model = ApiKey
        fields = [
            "id",
            "object",
            "name",
            "prefix",
            "state",
            "group",
            "owner",
            "note",
            "priority",
            *POLICY,
            *Limits.__slots__,
            "keeps_texts",
            "created_at",
            "expires_at",
            "revoked_at",
            "previous_prefix",
            "previous_until",
            "last_used_at",
            "last_address",
        ]
        read_only_fields = [
            "id",
            "prefix",
            "state",
            "created_at",
            "revoked_at",
            "previous_prefix",
            "previous_until",
        ]

    def update(self, instance: ApiKey, validated_data: dict[str, Any]) -> ApiKey:
        """Store what is given and nothing else: meanwhile the key may have been revoked or got a new text."""
        for name, value in validated_data.items():
            setattr(instance, name, value)
        instance.save(update_fields=list(validated_data))
        return instance

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Have the row itself say what is wrong with its names, the lines of its policy, and its end."""
        given = {
            name: attrs[name] for name in (*POLICY, *Limits.__slots__, "name", "group", "expires_at") if name in attrs
        }
        try:
            ApiKey(**given).clean()
        except ValidationError as error:
            raise serializers.ValidationError(error.message_dict) from error
        return attrs


class RotationSerializer(Strict):
    """How long the former text works beside the new one, in seconds."""

    overlap_seconds = serializers.IntegerField(
        min_value=0, max_value=int(LONGEST_OVERLAP.total_seconds()), default=24 * 3600
    )
