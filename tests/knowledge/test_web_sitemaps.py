"""The pages that a site names in its sitemaps."""

import gzip
from collections.abc import AsyncIterator

import pytest

from knowledge.web import Manners, PageUnavailable, Web
from routing.backends.fetch import Limits
from tests.knowledge.website import LOOPBACK, Website, website


@pytest.fixture
async def site() -> AsyncIterator[Website]:
    async with website() as site:
        yield site


def reader(site: Website, *, seconds: float = 5.0) -> Web:
    limits = Limits(size=100_000, seconds=seconds)
    return Web(LOOPBACK, limits=limits, manners=Manners(delay=0.0), resolve=site.resolve)


BOMB = gzip.compress(b"<urlset>") + gzip.compress(b" " * 1024 * 1024) * 60


def urlset(*addresses: str) -> str:
    return f"<urlset>{''.join(f'<url><loc>{address}</loc></url>' for address in addresses)}</urlset>"


def index(*addresses: str) -> str:
    return (
        f"<sitemapindex>{''.join(f'<sitemap><loc>{address}</loc></sitemap>' for address in addresses)}</sitemapindex>"
    )


async def test_a_sitemap_tells_each_page_once_in_its_order(site):
    site.put("/map", urlset(f"{site.url}/b", f"{site.url}/a#x", "/c", f"http://A.test:{site.port}/b"))
    found = await reader(site).addresses_in_sitemap(f"{site.url}/map")
    assert found.urls == (f"{site.url}/b", f"{site.url}/a", f"{site.url}/c")
    assert found.notes == ()


async def test_an_index_is_followed_whatever_its_sitemaps_are_like(site):
    site.put("/index", index("/1.xml", "/2.xml.gz", "/3.xml.gz", "/4.txt"))
    site.put("/1.xml", urlset("/one"))
    site.put("/2.xml.gz", gzip.compress(urlset("/two").encode()), Content_Type="application/gzip")
    site.put("/3.xml.gz", gzip.compress(urlset("/three").encode()), Content_Encoding="gzip")
    site.put("/4.txt", f"{site.url}/four")
    found = await reader(site).addresses_in_sitemap(f"{site.url}/index")
    assert found.urls == tuple(f"{site.url}/{page}" for page in ("one", "two", "three", "four"))


async def test_an_index_that_leads_to_itself_comes_to_an_end(site):
    site.put("/index", index("/index", "/other", "/pages", "/index#again"))
    site.put("/other", index("/index", "/pages"))
    site.put("/pages", urlset("/page"))
    found = await reader(site).addresses_in_sitemap(f"{site.url}/index")
    assert found.urls == (f"{site.url}/page",)
    assert site.paths() == ["/index", "/other", "/pages"]


async def test_indexes_are_followed_only_so_far(site):
    for depth in range(6):
        site.put(f"/{depth}", index(f"/{depth + 1}"))
    found = await reader(site).addresses_in_sitemap(f"{site.url}/0")
    assert site.paths() == ["/0", "/1", "/2", "/3"]
    assert found.notes == (f"{site.url}/3 leads to sitemaps too many steps away; they were not opened.",)


async def test_only_so_many_sitemaps_are_opened(site):
    site.put("/index", index(*(f"/{number}.xml" for number in range(60))))
    for number in range(60):
        site.put(f"/{number}.xml", urlset(f"/{number}"))
    found = await reader(site).addresses_in_sitemap(f"{site.url}/index")
    assert len(found.urls) == 49
    assert found.notes == ("Only 50 sitemaps were opened; left out: 11 more.",)


async def test_no_more_is_read_than_is_wanted(site):
    site.put("/index", index("/1.xml", "/2.xml"))
    site.put("/1.xml", urlset("/a", "/b", "/c"))
    found = await reader(site).addresses_in_sitemap(f"{site.url}/index", most=2)
    assert found.urls == (f"{site.url}/a", f"{site.url}/b")
    assert found.notes == ("Only the first 2 addresses were taken; there are more.",)
    assert site.paths() == ["/index", "/1.xml"]


async def test_as_many_as_are_wanted_are_no_reason_for_a_note(site):
    site.put("/map", urlset("/a", "/b"))
    found = await reader(site).addresses_in_sitemap(f"{site.url}/map", most=2)
    assert (len(found.urls), found.notes) == (2, ())


async def test_other_sites_are_left_out_unless_they_are_wanted(site):
    own = (f"{site.url}/a", f"{site.at('www.a.test')}/b")
    other = (f"{site.at('b.test')}/c", "https://a.test/d", "http://example.org/e", "http://inside.test/f")
    site.put("/map", urlset(*own, *other, f"{site.at('b.test')}/g"))
    found = await reader(site).addresses_in_sitemap(f"{site.url}/map")
    assert found.urls == own
    assert found.notes == (f"Left out: 5 addresses of other sites (b.test:{site.port}, a.test, example.org, …).",)
    everything = await reader(site).addresses_in_sitemap(f"{site.url}/map", other_sites=True)
    assert everything.urls == (*own, *other, f"{site.at('b.test')}/g")


async def test_what_is_no_address_of_a_page_is_left_out(site):
    site.put(
        "/map",
        urlset("/a", "mailto:a@example.org", "javascript:alert(1)", "http://[::1", "/" + "x" * 3000, "http://a:b@c/"),
    )
    found = await reader(site).addresses_in_sitemap(f"{site.url}/map")
    assert found.urls == (f"{site.url}/a",)
    assert found.notes == ("Left out: 5 entries that are no web address.",)


async def test_one_that_cannot_be_read_does_not_stop_the_others(site):
    site.put("/index", index("/missing", "/page", "http://inside.test/x", "/good"))
    site.put("/page", "<html></html>")
    site.put("/good", urlset("/a"))
    found = await reader(site).addresses_in_sitemap(f"{site.url}/index", other_sites=True)
    assert found.urls == (f"{site.url}/a",)
    assert [note.split(" cannot be read: ")[0] for note in found.notes] == [
        f"{site.url}/missing",
        f"{site.url}/page",
        "http://inside.test/x",
    ]


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/missing", "http_404"),
        ("/page", "not_a_sitemap"),
        ("/inwards", "not_public"),
        ("/large", "too_large"),
        ("/bomb", "too_large"),
        ("/private", "forbidden_by_robots"),
        ("/slow", "timed_out"),
    ],
)
async def test_one_that_is_asked_for_itself_has_to_be_there(site, path, code):
    site.put("/robots.txt", "User-agent: *\nDisallow: /private")
    site.put("/page", "<html></html>")
    site.redirect("/inwards", "http://10.0.0.1/sitemap.xml")
    site.put("/large", "x" * 100_001)
    site.put("/bomb", BOMB)
    with pytest.raises(PageUnavailable) as caught:
        await reader(site, seconds=0.5 if path == "/slow" else 30).addresses_in_sitemap(site.url + path)
    assert caught.value.code == code


@pytest.mark.parametrize("url", ["ftp://example.org/sitemap.xml", "example.org", "http://me:secret@example.org/"])
async def test_what_is_no_address_is_no_sitemap(site, url):
    with pytest.raises(PageUnavailable) as caught:
        await reader(site).addresses_in_sitemap(url)
    assert "secret" not in caught.value.message


# --- the address of a site alone -----------------------------------------------------------------------------


async def test_a_site_names_its_sitemaps_in_robots_txt(site):
    site.put(
        "/robots.txt",
        f"Sitemap: {site.at('cdn.test')}/a.test/index\nUser-agent: *\nDisallow: /x\n"
        "Sitemap: /own.xml\nSitemap: http://[::1\nSitemap: /own.xml",
    )
    site.put("cdn.test/a.test/index", index("more.xml", "http://elsewhere.test/x.xml"))
    site.put("cdn.test/a.test/more.xml", urlset(f"{site.url}/a", f"{site.at('cdn.test')}/b"))
    site.put("/own.xml", urlset("/c"))
    found = await reader(site).addresses_in_sitemap(site.url)
    assert found.urls == (f"{site.url}/c", f"{site.url}/a"), "the first of the sitemaps was an index"
    assert found.notes == (f"Left out: 2 addresses of other sites (elsewhere.test, cdn.test:{site.port}).",)


async def test_one_that_names_none_may_have_one_in_the_usual_place(site):
    site.put("/sitemap.xml", urlset("/a"))
    assert (await reader(site).addresses_in_sitemap(f"{site.url}/")).urls == (f"{site.url}/a",)


async def test_one_without_any_is_told_what_to_do(site):
    with pytest.raises(PageUnavailable, match="give the address of a sitemap or feed") as caught:
        await reader(site).addresses_in_sitemap(site.url)
    assert caught.value.message.startswith(f"{site.url}/ cannot be read: its robots.txt names no sitemap")


async def test_one_in_trouble_is_not_said_to_have_none(site):
    site.put("/sitemap.xml", status=503)
    with pytest.raises(PageUnavailable, match="status 503") as caught:
        await reader(site).addresses_in_sitemap(site.url)
    assert caught.value.may_pass
