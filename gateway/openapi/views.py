"""GET /openapi.json and GET /docs: what the API is, for programs and for people. Both open without a key."""

import functools
import hashlib

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.templatetags.static import static
from django.views.decorators.http import condition, require_safe

from gateway.openapi.document import document
from routing.backends import codec

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@functools.cache
def _encoded() -> bytes:
    return codec.dumps(document())


def _tag(request: HttpRequest) -> str:
    return f'"{hashlib.sha256(_encoded()).hexdigest()[:32]}"'


@require_safe
@condition(etag_func=_tag)
def description(request: HttpRequest) -> HttpResponse:
    """GET /openapi.json"""
    return HttpResponse(_encoded(), content_type="application/json")


@require_safe
def docs(request: HttpRequest) -> HttpResponse:
    """GET /docs: Swagger UI, from this server's own files"""
    files = "drf_spectacular_sidecar/swagger-ui-dist"
    response = render(
        request,
        "gateway/docs.html",
        {
            "css": static(f"{files}/swagger-ui.css"),
            "scripts": [static(f"{files}/swagger-ui-bundle.js"), static("gateway/docs.js")],
            "icon": static(f"{files}/favicon-32x32.png"),
        },
    )
    response["Content-Security-Policy"] = POLICY
    return response
