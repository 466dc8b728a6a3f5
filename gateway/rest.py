"""What ties REST framework to the rest of the door: API keys, and errors in the shape OpenAI clients know."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from django.conf import settings
from django.core.exceptions import SuspiciousOperation
from django.http import Http404, HttpRequest
from rest_framework import exceptions
from rest_framework.authentication import BaseAuthentication
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.settings import api_settings

from gateway.addresses import client_address, networks_of
from gateway.auth import Caller, Visit, check_scope, keys, recognise
from gateway.errors import (
    AuthenticationFailed,
    MethodNotAllowed,
    PermissionDenied,
    UnsupportedMediaType,
    envelope,
    error_headers,
    from_exception,
)
from gateway.misdirected import nothing_at
from gateway.usage.journal import usage
from routing.exceptions import BadRequest, EndpointError


class ApiKeyAuthentication(BaseAuthentication):
    def authenticate(self, request: Request) -> tuple[Caller, None]:
        caller = recognise(visit_of(request), keys.get())
        usage.used(caller)
        return caller, None

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


class Permitted(BasePermission):
    """Lets in who has the scope that a view ``needs``; every view says one."""

    def has_permission(self, request: Request, view: Any) -> bool:
        check_scope(cast(Caller, request.user), view.needs, visit_of(request))
        return True


def visit_of(request: HttpRequest | Request) -> Visit:
    """Return what a request says of who sends it."""
    return Visit(
        method=str(request.method),
        path=request.path,
        authorization=request.headers.get("Authorization"),
        address=address_of(request),
        origin=request.headers.get("Origin", ""),
        host=request.headers.get("Host", ""),
    )


def address_of(request: HttpRequest | Request) -> str:
    """Return where a request comes from, behind proxies that are trusted; "" where nobody knows."""
    proxies = networks_of(tuple(settings.TRUSTED_PROXIES))
    return client_address(request.META.get("REMOTE_ADDR", ""), request.headers.get("X-Forwarded-For", ""), proxies)


def exception_handler(exception: Exception, context: Mapping[str, Any]) -> Response:
    """Answer a REST view's exception (REST_FRAMEWORK's EXCEPTION_HANDLER)."""
    from rest_framework.views import set_rollback  # that module imports this one, through the settings

    set_rollback()
    error = _translate(exception, context["view"], context["request"])
    return Response(envelope(error), status=error.status, headers=error_headers(error))


def _translate(exception: Exception, view: Any, request: Request) -> EndpointError:
    if isinstance(exception, exceptions.MethodNotAllowed):
        return MethodNotAllowed(str(request.method), tuple(view.allowed_methods))
    if isinstance(exception, Http404 | exceptions.NotFound):
        return nothing_at(str(request.method), request.path)
    if isinstance(exception, exceptions.NotAuthenticated | exceptions.AuthenticationFailed):
        return AuthenticationFailed(str(exception.detail))
    if isinstance(exception, exceptions.PermissionDenied):
        return PermissionDenied(str(exception.detail))
    if isinstance(exception, exceptions.UnsupportedMediaType):
        return UnsupportedMediaType("Send the body as JSON, with Content-Type: application/json.")
    if isinstance(exception, exceptions.ValidationError):
        where, words = _first_problem(exception.detail)
        return BadRequest(f"'{where}': {words}" if where else words, param=where or None, code="invalid_value")
    if isinstance(exception, exceptions.ParseError):
        return BadRequest(f"The body is not valid JSON: {exception.detail}")
    if isinstance(exception, SuspiciousOperation):
        return BadRequest(f"The request was refused before it was read: {exception}")
    if isinstance(exception, exceptions.APIException) and exception.status_code < 500:
        return BadRequest(str(exception.detail))
    return from_exception(exception)


def _first_problem(detail: Any, where: str = "") -> tuple[str, str]:
    """Return the first thing that a serializer found wrong: where, such as metadata or documents[2].title, and what."""
    if isinstance(detail, Mapping):
        name, inner = next(iter(detail.items()))
        if name == api_settings.NON_FIELD_ERRORS_KEY:
            return _first_problem(inner, where)
        return _first_problem(inner, f"{where}.{name}" if where else str(name))
    if isinstance(detail, Sequence) and not isinstance(detail, str):
        place, inner = next((place, inner) for place, inner in enumerate(detail) if inner)
        return _first_problem(inner, where if isinstance(inner, str) else f"{where}[{place}]")
    return where, str(detail)
