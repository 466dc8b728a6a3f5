"""Keys as a resource, for programs of administrators.

A key with the scope admin makes and changes keys of clients. Who may administer is for people to say, in admin or by
command: here such keys are listed, but neither made nor changed, except that one may rotate itself. And whoever is
narrowed to some models or collections makes and changes none, as what it made could be wider than itself.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from gateway.errors import NotFound, PermissionDenied
from gateway.fields import unsupported
from gateway.keyring.serializers import KeySerializer, RotationSerializer
from gateway.keyring.wording import fitting_nothing
from gateway.models import ApiKey
from gateway.policy import Scope
from gateway.ragapi.paging import listing
from gateway.ragapi.resource import Resource

UNSTORED = {"Cache-Control": "no-store"}
"""For answers with the text of a key."""


class KeyResource(Resource):
    needs = Scope.ADMIN

    def key_at(self, number: int) -> ApiKey:
        """Return a key; raises NotFound."""
        key = ApiKey.objects.select_related("use", "owner").filter(pk=number).first()
        if key is None:
            raise NotFound(f"There is no key {number}. GET /v1/keys lists those there are.", param="id")
        return key

    def check_issuer(self) -> None:
        """Raise PermissionDenied for a caller that could hand out more than it has."""
        if any(policy.models or policy.collections for policy in self.caller.policies):
            raise PermissionDenied(
                "This API key is narrowed to some models or collections, and a key that it made could be wider than "
                "itself. Use one that is not."
            )

    def check_changeable(self, key: ApiKey) -> None:
        """Raise PermissionDenied for a key that may administer."""
        if Scope.ADMIN in key.policy.scopes:
            raise PermissionDenied(
                f"The key {key.pk} may administer. Such keys are made, changed and revoked by people, in admin or with "
                "manage.py."
            )


class Keys(KeyResource):
    """GET and POST /v1/keys"""

    def get(self, request: Request) -> Response:
        query = self.query("group", "state")
        rows = ApiKey.objects.select_related("use", "owner")
        if group := query.get("group"):
            rows = rows.filter(group=group)
        if "state" in query:
            if query["state"] not in ApiKey.STATES:
                raise unsupported("state", f"'state' must be one of: {', '.join(ApiKey.STATES)}.")
            rows = rows.in_state(query["state"])
        return listing(rows, query, order="id", cursor="id", shown=_shown)

    def post(self, request: Request) -> Response:
        """Make a key; its text is in this answer and nowhere else."""
        self.check_issuer()
        asked = KeySerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        key, text = ApiKey.objects.issue(**asked.validated_data)
        return Response(_with_text(key, text), status=status.HTTP_201_CREATED, headers=UNSTORED)


class OneKey(KeyResource):
    """GET, PATCH and DELETE /v1/keys/{id}"""

    def get(self, request: Request, number: int) -> Response:
        return Response(_shown(self.key_at(number)))

    def patch(self, request: Request, number: int) -> Response:
        self.check_issuer()
        key = self.key_at(number)
        self.check_changeable(key)
        changed = KeySerializer(key, data=request.data, partial=True)
        changed.is_valid(raise_exception=True)
        changed.save()
        return Response(_shown(key) | _warned(key))

    def delete(self, request: Request, number: int) -> Response:
        """Revoke a key for good. It stays in lists, so that what it did keeps its name."""
        key = self.key_at(number)
        self.check_changeable(key)
        key.revoke()
        return Response(_shown(key))


class Rotation(KeyResource):
    """POST /v1/keys/{id}/rotate"""

    def post(self, request: Request, number: int) -> Response:
        """Give a key a new text, which is in this answer and nowhere else; the former one works on for a while."""
        key = self.key_at(number)
        if key.pk != self.caller.key_id:
            self.check_issuer()
            self.check_changeable(key)
        asked = RotationSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        text = key.rotate(timedelta(seconds=asked.validated_data["overlap_seconds"]))
        return Response(_with_text(key, text), headers=UNSTORED)


def _with_text(key: ApiKey, text: str) -> Mapping[str, Any]:
    return _shown(key) | {"key": text} | _warned(key)


def _warned(key: ApiKey) -> dict[str, Any]:
    warnings = fitting_nothing(key)
    return {"warnings": warnings} if warnings else {}


def _shown(key: ApiKey) -> dict[str, Any]:
    return dict(KeySerializer(key).data)
