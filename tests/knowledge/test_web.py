"""Reading pages: safely, politely, and only what their sites let programs read."""

import asyncio
import re
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from knowledge.web import Manners, PageUnavailable, Web
from routing.backends.fetch import Allowed, Limits
from tests.knowledge.website import LOOPBACK, Website, website

HURRIED = Manners(delay=0.0, longest_delay=0.0)
LIMITS = Limits(size=20_000, seconds=30, redirects=3)
QUICK = replace(LIMITS, seconds=0.5)
AGENT = "Mozilla/5.0 (compatible; reader/1.0)"


@pytest.fixture
async def site() -> AsyncIterator[Website]:
    async with website() as site:
        yield site


def reader(site: Website, *, manners: Manners = HURRIED, allowed: Allowed = LOOPBACK, limits: Limits = LIMITS) -> Web:
    return Web(allowed, limits=limits, manners=manners, user_agent=AGENT, resolve=site.resolve)


async def refused(web: Web, url: str) -> PageUnavailable:
    with pytest.raises(PageUnavailable) as caught:
        await web.fetch_page(url)
    assert caught.value.message.endswith(".")
    return caught.value


# --- pages ---------------------------------------------------------------------------------------------------


async def test_a_page_with_what_its_server_says_of_it(site):
    site.put("/page", "grün".encode("latin-1"), Content_Type="text/html; charset=ISO-8859-1", ETag='"1"')
    page = await reader(site).fetch_page(f"{site.url}/page#part")
    assert (page.content.decode(page.charset), page.media_type, page.etag) == ("grün", "text/html", '"1"')
    assert page.url == f"{site.url}/page"
    assert {headers["User-Agent"] for headers in site.headers} == {AGENT}


async def test_anything_that_is_a_file_can_be_had(site):
    site.put("/paper.pdf", b"%PDF-1.7", Content_Type="application/pdf")
    site.put("/nameless", b"\0\1")
    web = reader(site)
    assert (await web.fetch_page(f"{site.url}/paper.pdf")).media_type == "application/pdf"
    assert (await web.fetch_page(f"{site.url}/nameless")).content == b"\0\1"


@pytest.mark.parametrize(
    ("path", "code", "words"),
    [
        ("/missing", "http_404", "its server answered with status 404"),
        ("/broken", "http_500", "its server answered with status 500"),
        ("/large", "too_large", "larger than 20,000 bytes"),
        ("/slow", "timed_out", r"within 0\.5 seconds"),
        ("/round", "too_many_redirects", "redirected more than 3 times"),
        ("/inwards", "not_public", "FETCH_ALLOWED_HOSTS"),
        ("/named", "not_public", "FETCH_ALLOWED_HOSTS"),
        ("/file", "unsupported_scheme", "only http and https"),
    ],
)
async def test_why_a_page_cannot_be_read(site, path, code, words):
    site.put("/broken", status=500)
    site.put("/large", "x" * 20_001)
    site.redirect("/round", "/round")
    site.redirect("/inwards", "http://10.0.0.1/secret")
    site.redirect("/named", "http://inside.test/secret")
    site.redirect("/file", "file:///etc/passwd")
    error = await refused(reader(site, limits=QUICK if path == "/slow" else LIMITS), site.url + path)
    assert error.code == code
    assert error.message.startswith(f"{site.url}{path} cannot be read: ")
    assert re.search(words, error.message)
    assert "10.0.0.1" not in error.message
    assert error.may_pass is (code in ("http_500", "timed_out"))


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("ftp://example.org/x", "unsupported_scheme"),
        ("no address", "unsupported_scheme"),
        ("http://[::1", "invalid_url"),
        ("http://inside.test/", "not_public"),
        ("http://10.0.0.1/", "not_public"),
        ("http://unknown/", "not_public"),
    ],
)
async def test_addresses_that_are_not_read(site, url, code):
    assert (await refused(reader(site), url)).code == code
    assert site.asked == []


async def test_this_machine_is_out_of_reach_unless_allowed(site):
    assert (await refused(reader(site, allowed=Allowed()), site.url)).code == "not_public"
    assert site.asked == []


async def test_a_password_is_not_repeated(site):
    error = await refused(reader(site), f"http://me:secret@a.test:{site.port}/")
    assert error.code == "invalid_url"
    assert "secret" not in error.message


async def test_a_server_that_is_not_there(site, unused_tcp_port):
    error = await refused(reader(site), f"http://a.test:{unused_tcp_port}/")
    assert (error.code, error.may_pass) == ("unreachable", True)


# --- not modified --------------------------------------------------------------------------------------------


async def test_a_page_that_has_not_changed_is_not_sent_again(site):
    site.put("/page", status=304)
    date = "Thu, 01 Jan 2026 00:00:00 GMT"
    assert await reader(site).fetch_page(f"{site.url}/page", etag='W/"1"', last_modified=date) is None
    assert site.headers[-1]["If-None-Match"] == 'W/"1"'
    assert site.headers[-1]["If-Modified-Since"] == date
    assert "If-None-Match" not in site.headers[0], "robots.txt is another thing"


async def test_not_changed_is_no_answer_to_who_knows_nothing(site):
    site.put("/page", status=304)
    assert (await refused(reader(site), f"{site.url}/page")).code == "http_304"


async def test_where_an_address_leads_now_may_be_another_page(site):
    site.redirect("/page", "/new")
    site.put("/new", "new")
    page = await reader(site).fetch_page(f"{site.url}/page", etag='"1"', last_modified="Thu, 01 Jan 2026 00:00:00 GMT")
    assert (page.content, page.url) == (b"new", f"{site.url}/new")
    assert not {"If-None-Match", "If-Modified-Since"} & site.headers[-1].keys()


# --- robots.txt ----------------------------------------------------------------------------------------------

NOT_ME = "User-agent: reader\nDisallow: /\n"


@pytest.mark.parametrize(
    ("robots", "path", "allowed"),
    [
        ("", "/page", True),
        ("<html><body>Welcome to every address</body></html>", "/page", True),
        ("\ufeffUser-agent: *\nDisallow: /private/", "/private/x", False),
        ("User-agent: *\nDisallow: /private/", "/private/x", False),
        ("User-agent: *\r\nDisallow: /private/", "/page", True),
        ("User-agent: *\nDisallow: /\nAllow: /page", "/page", True),
        ("User-agent: *\nDisallow: /*.pdf$", "/a.pdf", False),
        ("User-agent: *\nDisallow: /*.pdf$", "/a.pdf?x", True),
        ("User-agent: *\nDisallow: /*?print=", "/page?print=1", False),
        ("User-agent: *\nDisallow: /caf%C3%A9", "/café", False),
        ("User-agent: other\nDisallow: /", "/page", True),
        (NOT_ME, "/page", False),
        (NOT_ME + "User-agent: *\nDisallow:", "/page", False),
        ("User-agent: *\nDisallow: /\n\nUser-agent: READER\nAllow: /", "/page", True),
        ("User-agent: *\nDisallow:", "/page", True),
    ],
)
async def test_what_a_site_does_not_want_read_is_not_read(site, robots, path, allowed):
    site.put("/robots.txt", robots)
    site.answers[path.partition("?")[0]] = site.answers["/robots.txt"]
    if allowed:
        assert await reader(site).fetch_page(site.url + path)
        return
    error = await refused(reader(site), site.url + path)
    assert (error.code, error.may_pass) == ("forbidden_by_robots", False)
    assert "robots.txt" in error.message
    assert site.paths() == []


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (401, None),
        (403, None),
        (404, None),
        (410, None),
        (429, "robots_unavailable"),
        (500, "robots_unavailable"),
        (503, "robots_unavailable"),
    ],
)
async def test_a_site_without_robots_txt_allows_everything_one_in_trouble_nothing(site, status, code):
    site.put("/robots.txt", NOT_ME, status=status)
    site.put("/page", "text")
    if code is None:
        assert (await reader(site).fetch_page(f"{site.url}/page")).content == b"text"
        return
    error = await refused(reader(site), f"{site.url}/page")
    assert (error.code, error.may_pass) == (code, True)
    assert f"robots.txt, which is asked first, could not be had: its server answered with status {status}" in str(error)


async def test_a_robots_txt_may_be_elsewhere(site):
    site.redirect("a.test/robots.txt", f"{site.at('b.test')}/robots.txt")
    site.put("b.test/robots.txt", NOT_ME)
    assert (await refused(reader(site), f"{site.url}/page")).code == "forbidden_by_robots"


async def test_a_robots_txt_that_leads_round_and_round_is_none(site):
    site.redirect("/robots.txt", "/robots.txt")
    site.put("/page", "text")
    assert (await reader(site).fetch_page(f"{site.url}/page")).content == b"text"


async def test_a_robots_txt_that_leads_inwards_is_refused(site):
    site.redirect("/robots.txt", "http://inside.test/robots.txt")
    assert (await refused(reader(site), f"{site.url}/page")).code == "not_public"


async def test_what_it_asks_for_after_half_a_megabyte_is_not_read(site):
    site.put("/robots.txt", "User-agent: *\nDisallow: /a\n" + "#" * 512 * 1024 + "\nDisallow: /b")
    site.put("/b", "text")
    web = reader(site, limits=Limits())
    assert await web.fetch_page(f"{site.url}/b")
    assert (await refused(web, f"{site.url}/a")).code == "forbidden_by_robots"


async def test_one_that_would_take_hours_to_understand_is_not_understood(site):
    agents = "".join(f"User-agent:{number}\n" for number in range(10_000))
    site.put("/robots.txt", agents + "".join(f"Disallow:/{number}\n" for number in range(10_000)))
    web = reader(site, limits=Limits())
    started = time.monotonic()
    error = await refused(web, f"{site.url}/page")
    assert (error.code, "too large to be understood" in error.message) == ("robots_unavailable", True)
    assert time.monotonic() - started < 30


async def test_every_address_of_a_redirect_is_asked_for(site):
    site.redirect("a.test/start", f"{site.at('b.test')}/goal")
    site.put("b.test/robots.txt", NOT_ME)
    assert (await refused(reader(site), f"{site.url}/start")).code == "forbidden_by_robots"
    assert site.asked == ["a.test/robots.txt", "a.test/start", "b.test/robots.txt"]


async def test_each_site_is_asked_once(site):
    site.put("/page", "text")
    web = reader(site)
    urls = [f"{site.at(host)}/page?{number}" for host in ("a.test", "b.test") for number in range(5)]
    await asyncio.gather(*map(web.fetch_page, urls))
    assert [asked for asked in site.asked if asked.endswith("robots.txt")] == ["a.test/robots.txt", "b.test/robots.txt"]


async def test_it_is_asked_again_after_a_while_and_sooner_if_it_was_in_trouble(site):
    manners = Manners(delay=0, remember=3600, retry=0.4)
    site.put("/page", "text")
    site.put("/robots.txt", status=503)
    web = reader(site, manners=manners)
    await refused(web, f"{site.url}/page")
    site.put("/robots.txt", "")
    await refused(web, f"{site.url}/page")
    await asyncio.sleep(0.45)
    assert await web.fetch_page(f"{site.url}/page")
    site.put("/robots.txt", NOT_ME)
    assert await web.fetch_page(f"{site.url}/page"), "an hour is not over"
    hasty = reader(site, manners=Manners(delay=0, remember=0.05))
    await refused(hasty, f"{site.url}/page")
    site.put("/robots.txt", "")
    await asyncio.sleep(0.06)
    assert await hasty.fetch_page(f"{site.url}/page")


# --- pace ----------------------------------------------------------------------------------------------------


async def seconds_for(web: Web, *urls: str) -> float:
    started = time.monotonic()
    await asyncio.gather(*map(web.fetch_page, urls))
    return time.monotonic() - started


async def test_a_site_is_given_time_between_requests(site):
    site.put("/page", "text")
    web = reader(site, manners=Manners(delay=0.1))
    assert await seconds_for(web, *[f"{site.url}/page?{number}" for number in range(4)]) >= 0.3


async def test_sites_do_not_wait_for_each_other(site):
    site.put("/page", "text")
    web = reader(site, manners=Manners(delay=5))
    assert await seconds_for(web, *[f"{site.at(host)}/page" for host in ("a.test", "b.test", "c.test")]) < 8


async def test_a_site_may_ask_for_more_time_within_bounds(site):
    site.put("/page", "text")
    site.put("/robots.txt", "User-agent: *\nCrawl-delay: 0.2")
    web = reader(site, manners=Manners(delay=0))
    assert await seconds_for(web, f"{site.url}/page", f"{site.url}/page?again") >= 0.2
    site.put("/robots.txt", "User-agent: *\nCrawl-delay: 86400")
    web = reader(site, manners=Manners(delay=0, longest_delay=0.1))
    assert 0.1 <= await seconds_for(web, f"{site.url}/page", f"{site.url}/page?again") < 60


async def test_waiting_for_a_turn_does_not_count_as_slowness(site):
    site.put("/page", "text")
    web = reader(site, manners=Manners(delay=0.6), limits=QUICK)
    assert await seconds_for(web, f"{site.url}/page", f"{site.url}/page?again") >= 0.6
