"""The door for what was used."""

from dataclasses import replace

from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response

from gateway.errors import PermissionDenied
from gateway.policy import ANY_SCOPE, Scope
from gateway.ragapi.resource import Resource
from gateway.usage.journal import usage_flush
from gateway.usage.query import PARAMETERS, UsageQuery, parse_usage
from gateway.usage.report import budgets_of, report_object


class Usage(Resource):
    """GET /v1/usage: what the calling key used, or, for one that may administer, what everybody did."""

    needs = ANY_SCOPE
    paging = ()

    def get(self, request: Request) -> Response:
        given = self.query(*PARAMETERS)
        asked = parse_usage(given, request.query_params.getlist("group_by"), now=timezone.now())
        usage_flush()  # what this process answered until now is in it
        return Response(report_object(self._permitted(asked)) | {"budgets": budgets_of(self.caller)})

    def _permitted(self, asked: UsageQuery) -> UsageQuery:
        """Return what is asked for, of the calling key alone if that may see no more; raises PermissionDenied."""
        caller = self.caller
        if caller.may(Scope.ADMIN):
            return asked
        own = caller.key_id or 0
        if asked.key not in (None, own) or asked.group not in ("", caller.group):
            raise PermissionDenied("This API key may see its own usage only. Leave out 'key' and 'group'.")
        return replace(asked, key=own)
