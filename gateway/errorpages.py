"""Django's own error pages (handler400 … handler500 in moe_site/urls.py): for clients of the API they are JSON."""

from django.http import HttpRequest, HttpResponse
from django.views import defaults

from gateway.errors import InternalError, PermissionDenied, http_response
from gateway.misdirected import nothing_at, path_meant
from routing.exceptions import BadRequest


def speaks_json(path: str) -> bool:
    return path.startswith(("/v1/", "/health/")) or path in ("/v1", "/health")


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    if not speaks_json(request.path):
        return defaults.bad_request(request, exception)
    return http_response(
        BadRequest(
            "The request was refused before it was read, most often because of its Host header. "
            "An administrator can add the name you use to ALLOWED_HOSTS."
        )
    )


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    if not speaks_json(request.path):
        return defaults.permission_denied(request, exception)
    return http_response(PermissionDenied("You may not do this."))


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    method = str(request.method)
    if not speaks_json(request.path) and path_meant(method, request.path) is None:
        return defaults.page_not_found(request, exception)
    return http_response(nothing_at(method, request.path))


def server_error(request: HttpRequest) -> HttpResponse:
    if not speaks_json(request.path):
        return defaults.server_error(request)
    return http_response(InternalError())
