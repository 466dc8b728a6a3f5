"""Which web pages may read answers, over consumers and Django's views alike."""

import httpx
import pytest

from moe_site.cors import CrossOrigin
from moe_site.proxies import BehindProxies

PAGE = "https://chat.example.org"


@pytest.fixture
def allowed(settings):
    settings.CORS_ALLOWED_ORIGINS = [PAGE, "http://localhost:3000/"]


async def answer(scope, receive, send):
    """An application that answers with headers of ours, others, and its scheme."""
    headers = [(b"X-MoE-Route", b"rule"), (b"x-ratelimit-limit-requests", b"9"), (b"Set-Cookie", b"a=b")]
    headers.append((b"x-scheme", scope["scheme"].encode()))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"ok", "more_body": False})


async def ask(method="POST", path="/v1/chat/completions", *, peer="127.0.0.1", application=None, **headers):
    transport = httpx.ASGITransport(application or CrossOrigin(answer), client=(peer, 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://moe") as client:
        return await client.request(
            method, path, headers={name.replace("_", "-"): text for name, text in headers.items()}
        )


async def test_an_allowed_page_may_read_the_answer_and_what_it_says_of_itself(allowed):
    told = (await ask(origin=PAGE)).headers
    assert told["access-control-allow-origin"] == PAGE
    assert told["vary"] == "Origin"
    assert told["access-control-expose-headers"] == "x-moe-route, x-ratelimit-limit-requests"
    assert "access-control-allow-credentials" not in told


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "https://chat.example.org.evil.example", "HTTPS://x"]
)
async def test_other_pages_may_not(allowed, origin):
    told = (await ask(origin=origin)).headers
    assert not [name for name in told if name.startswith("access-control")]


async def test_by_default_no_page_may():
    assert "access-control-allow-origin" not in (await ask(origin=PAGE)).headers


async def test_any_may_where_the_administrator_says_so(settings):
    settings.CORS_ALLOWED_ORIGINS = ["*"]
    assert (await ask(origin="https://evil.example")).headers["access-control-allow-origin"] == "https://evil.example"


async def test_what_is_no_page_is_left_alone(allowed):
    assert not [name for name in (await ask()).headers if name.startswith(("access-control", "vary"))]


async def test_a_preflight_is_answered_without_a_key_and_without_the_application(allowed):
    async def unreachable(scope, receive, send):
        raise AssertionError

    response = await ask(
        "OPTIONS",
        application=CrossOrigin(unreachable),
        origin=PAGE,
        access_control_request_method="POST",
        access_control_request_headers="authorization, content-type, x-stainless-os",
    )
    assert response.status_code == 204
    assert "POST" in response.headers["access-control-allow-methods"]
    assert "x-stainless-os" in response.headers["access-control-allow-headers"]
    assert "access-control-allow-credentials" not in response.headers


async def test_an_options_request_that_is_no_preflight_goes_on(allowed):
    assert (await ask("OPTIONS", origin=PAGE)).status_code == 200


@pytest.mark.parametrize("path", ["/admin/", "/sources/x", "/"])
async def test_the_admin_is_for_its_own_pages(allowed, path):
    assert "access-control-allow-origin" not in (await ask("GET", path, origin=PAGE)).headers


@pytest.mark.parametrize("path", ["/v1/models", "/v1/chat/completions", "/api/tags", "/health/live"])
async def test_the_whole_application_is_covered(allowed, path):
    """Consumers and views, their errors too."""
    from moe_site.asgi import routes

    preflight = await ask(
        "OPTIONS", path, application=CrossOrigin(routes), origin=PAGE, access_control_request_method="GET"
    )
    assert preflight.headers["access-control-allow-origin"] == PAGE


# --- the scheme behind proxies ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("peer", "told", "scheme"),
    [
        ("10.0.0.2", "https", "https"),
        ("10.0.0.2", "HTTPS , http", "https"),
        ("10.0.0.2", "http", "http"),
        ("10.0.0.2", "javascript", "http"),
        ("10.0.0.2", None, "http"),
        ("10.0.0.3", "https", "http"),
        ("", "https", "http"),
    ],
)
async def test_a_trusted_proxy_says_how_clients_reached_it_and_nobody_else(settings, peer, told, scheme):
    settings.TRUSTED_PROXIES = ["10.0.0.2"]
    headers = {"x_forwarded_proto": told} if told else {}
    response = await ask(peer=peer, application=BehindProxies(answer), **headers)
    assert response.headers["x-scheme"] == scheme


async def test_without_trusted_proxies_the_header_is_nobodys():
    response = await ask(peer="127.0.0.1", application=BehindProxies(answer), x_forwarded_proto="https")
    assert response.headers["x-scheme"] == "http"
