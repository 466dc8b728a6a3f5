"""Responses that are kept, for the API key they were made with."""

from collections.abc import Mapping
from typing import Any, ClassVar

from rest_framework.request import Request
from rest_framework.response import Response

from gateway.fields import invalid, unsupported
from gateway.policy import Scope
from gateway.ragapi.paging import limit_of, list_object
from gateway.ragapi.resource import Resource
from gateway.responses.stored import response_find


class ResponseResource(Resource):
    needs = Scope.CHAT
    paging: ClassVar[tuple[str, ...]] = ()


class OneResponse(ResponseResource):
    """GET and DELETE /v1/responses/{id}"""

    def get(self, request: Request, response_id: str) -> Response:
        query = self.query("include", "include[]", "stream", "include_obfuscation", "starting_after")
        if query.get("stream", "false").lower() != "false":
            raise unsupported("stream", "'stream' is not supported here: a response that is kept is complete.")
        return Response(response_find(response_id, self.caller).answer)

    def delete(self, request: Request, response_id: str) -> Response:
        self.query()
        response_find(response_id, self.caller).delete()
        return Response({"id": response_id, "object": "response", "deleted": True})


class InputItems(ResponseResource):
    """GET /v1/responses/{id}/input_items"""

    paging = ("limit", "order", "after")

    def get(self, request: Request, response_id: str) -> Response:
        query = self.query("include", "include[]")
        return Response(page(response_find(response_id, self.caller).request.get("input", []), query))


def page(items: list[Any], query: Mapping[str, str]) -> dict[str, Any]:
    """Return a page of ``items``, the last first unless ``order`` says otherwise; raises BadRequest."""
    limit, order, after = limit_of(query.get("limit")), query.get("order", "desc"), query.get("after")
    if order not in ("asc", "desc"):
        raise invalid("order", "'order' must be asc or desc.")
    listed = items if order == "asc" else items[::-1]
    if after is not None:
        place = next((place for place, item in enumerate(listed) if item["id"] == after), None)
        if place is None:
            raise invalid("after", f"'after' must be the id of an item of this list, and '{after[:100]}' is none.")
        listed = listed[place + 1 :]
    shown = listed[:limit]
    return list_object(shown, has_more=len(listed) > limit)
