"""What may be fetched for a client, and what of this network it must not reach."""

import asyncio
import base64
import gzip
import ipaddress
from collections.abc import AsyncIterator, Callable

import pytest
from aiohttp import web

from routing.backends.fetch import Allowed, Fetcher, FetchFailed, Limits, Redirected, is_public
from routing.backends.images import image_type, with_images
from routing.exceptions import BadRequest
from tests.requests import HELLO, chat_request, image, text

PNG = b"\x89PNG\r\n\x1a\n" + b"rest of it"
LOOPBACK = Allowed.parse(["127.0.0.1"])
QUICK = Limits(size=1000, seconds=0.3, redirects=3)
NOT_THERE = "unknown or not on the public internet"


class Site:
    """A web server on loopback that counts what it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.url = ""
        self.slow = asyncio.Event()
        self.gone = asyncio.Event()

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        self.asked.append(request.path)
        self.headers.append(dict(request.headers))
        answers: dict[str, Callable[[web.BaseRequest], web.StreamResponse]] = {
            "/cat.png": lambda _: web.Response(body=PNG, content_type="image/png"),
            "/liar.png": lambda _: web.Response(body=b"<html>", content_type="image/png"),
            "/large": lambda _: web.Response(body=b"x" * 1001),
            "/squeezed": lambda _: web.Response(body=b"x", headers={"Content-Encoding": "br"}),
            "/damaged": lambda _: web.Response(body=b"x", headers={"Content-Encoding": "gzip"}),
            "/bomb": lambda _: _packed(b"x" * 1001),
            "/packed": lambda _: _packed(b"x" * 1000),
            "/page": _page,
            "/odd": lambda _: web.Response(body=b"x", headers={"Content-Type": "text/\xe4", "ETag": "x" * 256}),
            "/there": lambda _: _redirect("/cat.png"),
            "/round": lambda _: _redirect("/round"),
            "/inwards": lambda _: _redirect("http://10.0.0.1/secret"),
            "/named": lambda _: _redirect("http://inside.test/secret"),
            "/file": lambda _: _redirect("file:///etc/passwd"),
        }
        if request.path == "/slow":
            self.slow.set()
            try:
                await asyncio.sleep(30)
            finally:
                self.gone.set()
        if request.path == "/endless":
            response = web.StreamResponse()
            await response.prepare(request)
            while True:
                await response.write(b"x" * 100)
                await asyncio.sleep(0)
        found = answers.get(request.path)
        return found(request) if found else web.Response(status=404)


def _redirect(to: str) -> web.Response:
    return web.Response(status=302, headers={"Location": to})


def _packed(content: bytes) -> web.Response:
    return web.Response(body=gzip.compress(content), headers={"Content-Encoding": "gzip"})


def _page(request: web.BaseRequest) -> web.Response:
    if request.headers.get("If-None-Match") == '"7"':
        return web.Response(status=304)
    headers = {
        "Content-Type": 'Text/HTML; Charset="ISO-8859-1"',
        "ETag": '"7"',
        "Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT",
    }
    return web.Response(body=b"<p>", headers=headers)


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    site = Site()
    runner = web.ServerRunner(web.Server(site.answer, handler_cancellation=True, access_log=None), shutdown_timeout=0.1)
    await runner.setup()
    tcp = web.TCPSite(runner, "127.0.0.1", 0)
    await tcp.start()
    site.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield site
    await runner.cleanup()


def names(**addresses: str | list[str]) -> Callable[[str], object]:
    """Return a resolver that knows the names ``a_test`` as ``a.test``; a list is answered one by one."""

    async def resolve(host: str) -> list[str]:
        found = addresses.get(host.replace(".", "_"))
        if found is None:
            raise OSError("unknown")
        return [found.pop(0)] if isinstance(found, list) else found.split()

    return resolve


# --- addresses -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "10.1.2.3",
        "100.64.0.1",
        "100.100.100.200",
        "127.0.0.1",
        "127.255.255.254",
        "168.63.129.16",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.192",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.0.1",
        "198.18.0.1",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::7f00:1",  # 127.0.0.1, IPv4-compatible
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::ffff:0:127.0.0.1",
        "64:ff9b::10.0.0.1",
        "64:ff9b::169.254.169.254",
        "64:ff9b:1::10.0.0.1",
        "100::1",
        "2001::1",
        "2001:0:4136:e378:8000:63bf:f5ff:fffe",  # Teredo
        "2001:10::1",
        "2001:db8::1",
        "2002:7f00:1::1",  # 6to4 of 127.0.0.1
        "2002:808:808::1",
        "2a00:1450::5efe:10.0.0.1",  # ISATAP
        "2a00:1450::200:5efe:127.0.0.1",
        "3fff::1",
        "4000::1",
        "5f00::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fe80::1%1",
        "fec0::1",
        "ff02::1",
    ],
)
def test_not_public(address):
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address",
    [
        "8.8.8.8",
        "100.63.255.255",
        "172.32.0.1",
        "169.253.0.1",
        "2001:4860:4860::8888",
        "2a00:1450:4001:82f::200e",
        "2a00:1450::5efe:8.8.8.8",
        "64:ff9b::8.8.8.8",
        "::ffff:8.8.8.8",
    ],
)
def test_public(address):
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    ("entries", "host", "address", "permitted"),
    [
        ([], "example.org", "8.8.8.8", True),
        ([], "inside", "10.0.0.1", False),
        (["inside"], "inside", "10.0.0.1", True),
        (["Inside."], "INSIDE", "10.0.0.1", True),
        (["inside"], "other.inside", "10.0.0.1", False),
        (["inside"], "10.0.0.1", "10.0.0.1", False),
        (["10.0.0.0/8"], "anything", "10.9.9.9", True),
        (["10.0.0.5/8"], "anything", "10.9.9.9", True),
        (["10.0.0.0/8"], "anything", "::ffff:10.9.9.9", True),
        (["10.0.0.0/8"], "anything", "11.0.0.1", True),
        (["10.0.0.0/8"], "anything", "192.168.0.1", False),
        ([" 127.0.0.1 ", ""], "127.0.0.1", "127.0.0.1", True),
        (["[::1]"], "::1", "::1", True),
        (["fd00::/8"], "nas", "fd12::1", True),
    ],
)
def test_an_administrator_may_allow_hosts(entries, host, address, permitted):
    assert Allowed.parse(entries).permits(host, ipaddress.ip_address(address)) is permitted


# --- fetching ------------------------------------------------------------------------------------------------


async def test_what_is_allowed_is_fetched(site):
    found = await Fetcher(LOOPBACK, limits=QUICK).fetch(f"{site.url}/there")
    assert (found.content, found.media_type, found.url) == (PNG, "image/png", f"{site.url}/cat.png")
    assert "Cookie" not in site.headers[0]


@pytest.mark.parametrize(
    "name",
    [
        "127.0.0.1",
        "127.0.0.1.",
        "localhost",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::1]",
        "0x7f.1",
        "0x7f000001",
        "0177.0.0.1",
        "017700000001",
        "2130706433",
        "0",
        "127.1",
    ],
)
async def test_this_machine_is_out_of_reach_under_every_name(site, name):
    with pytest.raises(FetchFailed):
        await Fetcher(Allowed(), limits=QUICK).fetch(site.url.replace("127.0.0.1", name) + "/cat.png")
    assert site.asked == []


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("file:///etc/passwd", "only http and https"),
        ("ftp://example.org/x", "only http and https"),
        ("gopher://example.org", "only http and https"),
        ("http://", "valid URL|only http"),
        ("http://./", "only http"),
        ("http://[::1", "no valid URL"),
        ("http://example.org:99999/", "no valid URL"),
        ("http://user:secret@example.org/", "user name or password"),
        ("http://unknown.test/", NOT_THERE),
        ("http://inside.test/", NOT_THERE),
        ("http://mixed.test/", NOT_THERE),
        ("http://broken.test/", NOT_THERE),
        ("http://10.0.0.1/", NOT_THERE),
        ("http://[fe80::1%25eth0]/", NOT_THERE),
    ],
)
async def test_what_is_not_fetched_is_told_in_words(url, words):
    resolve = names(inside_test="10.0.0.1", mixed_test="8.8.8.8 10.0.0.1", broken_test="nonsense")
    with pytest.raises(FetchFailed, match=words) as caught:
        await Fetcher(Allowed(), limits=QUICK, resolve=resolve).fetch(url)
    assert "10.0.0.1" not in str(caught.value)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/inwards", NOT_THERE),
        ("/named", NOT_THERE),
        ("/file", "only http and https"),
        ("/round", "redirected more than 3 times"),
        ("/large", "larger than 1,000 bytes"),
        ("/endless", "larger than 1,000 bytes"),
        ("/squeezed", "compressed, though asked not to"),
        ("/damaged", "compressed, and damaged"),
        ("/bomb", "larger than 1,000 bytes"),
        ("/slow", r"within 0\.3 seconds"),
        ("/missing", "status 404"),
    ],
)
async def test_what_a_server_may_not_do(site, path, words):
    fetcher = Fetcher(LOOPBACK, limits=QUICK, resolve=names(inside_test="192.168.0.1"))
    with pytest.raises(FetchFailed, match=words):
        await fetcher.fetch(site.url + path)
    assert set(site.asked) == {path}


async def test_what_a_server_says_of_a_page_is_kept(site):
    found = await Fetcher(LOOPBACK, limits=QUICK, user_agent="reader/1").fetch(f"{site.url}/page")
    assert (found.media_type, found.charset) == ("text/html", "iso-8859-1")
    assert (found.etag, found.last_modified) == ('"7"', "Thu, 01 Jan 2026 00:00:00 GMT")
    assert site.headers[0]["User-Agent"] == "reader/1"


async def test_headers_that_no_row_could_hold_are_not_kept(site):
    found = await Fetcher(LOOPBACK, limits=QUICK).fetch(f"{site.url}/odd")
    assert (found.media_type, found.charset, found.etag) == ("", "", "")


async def test_what_comes_compressed_all_the_same_is_unpacked(site):
    assert (await Fetcher(LOOPBACK, limits=QUICK).fetch(f"{site.url}/packed")).content == b"x" * 1000


@pytest.mark.parametrize("path", ["/large", "/endless"])
async def test_the_beginning_alone_can_be_asked_for(site, path):
    assert (await Fetcher(LOOPBACK, limits=QUICK).fetch(site.url + path, size=150, cut=True)).content == b"x" * 150


async def test_a_step_follows_no_redirect(site):
    found = await Fetcher(LOOPBACK, limits=QUICK).step(f"{site.url}/there")
    assert (found, site.asked) == (Redirected(url=f"{site.url}/cat.png"), ["/there"])


async def test_a_step_is_spared_what_has_not_changed(site):
    fetcher = Fetcher(LOOPBACK, limits=QUICK)
    first = await fetcher.step(f"{site.url}/page")
    assert await fetcher.step(f"{site.url}/page", etag=first.etag, last_modified=first.last_modified) is None
    assert site.headers[1]["If-Modified-Since"] == first.last_modified
    assert (await fetcher.step(f"{site.url}/page", etag='"6"')).content == b"<p>"


@pytest.mark.parametrize(
    ("url", "code"),
    [("/missing", "http_404"), ("/large", "too_large"), ("/slow", "timed_out"), ("/inwards", "not_public")],
)
async def test_what_failed_is_told_to_programs_too(site, url, code):
    with pytest.raises(FetchFailed) as caught:
        await Fetcher(LOOPBACK, limits=QUICK).fetch(site.url + url)
    assert caught.value.code == code


async def test_a_name_that_changes_its_mind_gains_nothing(site):
    """DNS rebinding: harmless when it is checked, inside when it is connected to."""
    port = site.url.rpartition(":")[2]
    answers = ["127.0.0.1", "10.0.0.1"]
    resolve = names(rebinding_test=answers)
    await Fetcher(LOOPBACK, limits=QUICK, resolve=resolve).fetch(f"http://rebinding.test:{port}/cat.png")
    assert answers == ["10.0.0.1"], "it was asked once, and what it said then was connected to"
    assert site.headers[0]["Host"] == f"rebinding.test:{port}"


async def test_a_name_is_checked_anew_for_every_redirect(site):
    port = site.url.rpartition(":")[2]
    resolve = names(rebinding_test=["127.0.0.1", "10.0.0.1"])
    with pytest.raises(FetchFailed, match=NOT_THERE):
        await Fetcher(LOOPBACK, limits=QUICK, resolve=resolve).fetch(f"http://rebinding.test:{port}/round")
    assert site.asked == ["/round"]


async def test_a_proxy_of_the_environment_plays_no_part(site, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert (await Fetcher(LOOPBACK, limits=QUICK).fetch(f"{site.url}/cat.png")).content == PNG


async def test_a_server_that_is_not_there(unused_tcp_port):
    with pytest.raises(FetchFailed, match="cannot be reached"):
        await Fetcher(LOOPBACK, limits=QUICK).fetch(f"http://127.0.0.1:{unused_tcp_port}/")


# --- images --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (PNG, "image/png"),
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"GIF89a", "image/gif"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "image/webp"),
        (b"RIFF\0\0\0\0WAVE", None),
        (b"<svg/>", None),
        (b"", None),
    ],
)
def test_an_image_is_known_by_its_first_bytes(content, kind):
    assert image_type(content) == kind


def asking(*urls: str):
    return chat_request(messages=[HELLO, {"role": "user", "content": [text("This?"), *(image(url) for url in urls)]}])


async def test_images_are_fetched_into_their_places(site):
    inline = "data:image/png;base64,AAAA"
    request = asking(f"{site.url}/cat.png", inline, f"{site.url}/there")
    filled = await with_images(request, Fetcher(LOOPBACK, limits=QUICK))
    first, second, third = filled.messages[1].images
    assert (first.data, first.mime, first.url) == (base64.b64encode(PNG).decode(), "image/png", "")
    assert second == request.messages[1].images[1]
    assert third == first


async def test_a_request_without_urls_is_left_as_it_is():
    request = asking("data:image/png;base64,AAAA")
    assert await with_images(request, Fetcher(Allowed())) is request


@pytest.mark.parametrize(
    ("path", "allowed", "words"),
    [
        ("/liar.png", LOOPBACK, "no PNG, JPEG, WebP or GIF"),
        ("/missing", LOOPBACK, "cannot be fetched: its server answered with status 404"),
        ("/cat.png", Allowed(), "FETCH_ALLOWED_HOSTS"),
    ],
)
async def test_an_image_that_cannot_be_had_is_named(site, path, allowed, words):
    with pytest.raises(BadRequest, match=words) as caught:
        await with_images(asking("data:image/png;base64,AAAA", site.url + path), Fetcher(allowed, limits=QUICK))
    assert (caught.value.param, caught.value.code) == ("messages[1].content[2]", "invalid_image_url")


async def test_one_that_fails_stops_the_others(site):
    with pytest.raises(BadRequest, match="404"):
        await with_images(asking(f"{site.url}/slow", f"{site.url}/missing"), Fetcher(LOOPBACK))


async def test_a_client_that_leaves_stops_them(site):
    running = asyncio.create_task(with_images(asking(f"{site.url}/slow"), Fetcher(LOOPBACK)))
    await asyncio.wait_for(site.slow.wait(), 30)
    running.cancel()
    await asyncio.wait_for(site.gone.wait(), 30)


async def test_there_is_a_limit_to_how_many_are_fetched():
    with pytest.raises(BadRequest, match="At most 16"):
        await with_images(asking(*["https://example.org/x.png"] * 17), Fetcher(Allowed()))
