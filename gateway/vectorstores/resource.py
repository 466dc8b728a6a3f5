"""A view of files or stores: what is asked, and an answer that says what of it was not done."""

from collections.abc import Mapping
from typing import Any, ClassVar

from rest_framework.response import Response

from gateway.completions import listed
from gateway.fields import Fields
from gateway.ragapi.resource import Resource
from gateway.vectorstores.paging import PARAMETERS
from knowledge.authors import Author
from routing.exceptions import BadRequest

POLL_MILLISECONDS = 300
"""How long OpenAI's SDKs are to wait before they look again."""


class StoreResource(Resource):
    paging: ClassVar[tuple[str, ...]] = PARAMETERS

    @property
    def author(self) -> Author:
        """Whom revisions are said to be by."""
        return Author(name=self.caller.name)

    def body(self) -> Mapping[str, Any]:
        """Return the object that the body is, {} where there is none; raises BadRequest."""
        data = self.request.data
        if not isinstance(data, dict):
            raise BadRequest("The body must be a JSON object.")
        return data

    def answer(
        self,
        found: Mapping[str, Any],
        fields: Fields | None = None,
        *,
        ignored: tuple[str, ...] = (),
        adjusted: bool = False,
    ) -> Response:
        """Return ``found``; headers name what nobody read of ``fields``, and a wish for chunks that was lowered."""
        headers = {}
        if names := (*(fields.unseen() if fields else ()), *ignored):
            headers["X-MoE-Ignored"] = listed(names)
        if adjusted:
            headers["X-MoE-Adjusted"] = "chunking_strategy"
        if found.get("status") == "in_progress":
            headers["openai-poll-after-ms"] = str(POLL_MILLISECONDS)
        return Response(found, headers=headers)
