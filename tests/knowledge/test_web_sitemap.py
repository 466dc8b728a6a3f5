"""Reading one sitemap in all the forms in which sites have them, and in those nobody should have."""

import gzip
import time
import tracemalloc

import pytest

from knowledge.web.page import PageUnavailable
from knowledge.web.sitemap import MOST_ADDRESSES, MOST_BYTES, read_sitemap

URL = "https://example.org/sitemap.xml"
NAMESPACE = 'xmlns="http://www.sitemaps.org/schemas/sitemap/0.9"'


def urlset(*addresses: str, prolog: str = "") -> bytes:
    urls = "".join(f"<url><loc>{address}</loc><lastmod>2026-01-01</lastmod></url>" for address in addresses)
    return f"{prolog}<urlset {NAMESPACE}>{urls}</urlset>".encode()


@pytest.mark.parametrize(
    ("content", "pages"),
    [
        (urlset(), ()),
        (
            urlset("https://example.org/a", "\n https://example.org/b\t"),
            ("https://example.org/a", "https://example.org/b"),
        ),
        (urlset("https://example.org/?a=1&amp;b=2"), ("https://example.org/?a=1&b=2",)),
        (urlset("<![CDATA[https://example.org/?a=1&b=2]]>"), ("https://example.org/?a=1&b=2",)),
        (urlset("https://example.org/ä", prolog='\ufeff<?xml version="1.0"?>'), ("https://example.org/ä",)),
        (
            urlset("https://example.org/ä", prolog='<?xml version="1.0" encoding="UTF-16"?>').decode().encode("utf-16"),
            ("https://example.org/ä",),
        ),
        (
            urlset("https://example.org/ä", prolog='<?xml version="1.0" encoding="ISO-8859-1"?>')
            .decode()
            .encode("latin-1"),
            ("https://example.org/ä",),
        ),
        (b"\n\n<urlset><url><loc>https://example.org/a</loc></url></urlset>", ("https://example.org/a",)),
        (
            b'<s:urlset xmlns:s="x"><s:url><s:loc>https://example.org/a</s:loc></s:url></s:urlset>',
            ("https://example.org/a",),
        ),
        (
            b'<urlset xmlns:image="i" xmlns:xhtml="h"><url><loc>https://example.org/a</loc>'
            b"<image:image><image:loc>https://example.org/a.png</image:loc></image:image>"
            b'<xhtml:link rel="alternate" hreflang="de" href="https://example.org/de"/></url></urlset>',
            ("https://example.org/a",),
        ),
        (
            b'<!DOCTYPE rss PUBLIC "-//Netscape//DTD RSS 0.91//EN" "http://10.0.0.1/rss.dtd">'
            b'<rss version="2.0" xmlns:atom="a"><channel><link>https://example.org/</link>'
            b"<item><title>A</title><link>https://example.org/a</link><atom:link href='x'/></item>"
            b"<item><link>https://example.org/b</link></item></channel></rss>",
            ("https://example.org/a", "https://example.org/b"),
        ),
        (
            b'<rdf:RDF xmlns:rdf="r"><channel><link>https://example.org/</link></channel>'
            b"<item><link>https://example.org/a</link></item></rdf:RDF>",
            ("https://example.org/a",),
        ),
        (
            b'<feed xmlns="http://www.w3.org/2005/Atom"><link href="https://example.org/"/>'
            b'<entry><link rel="self" href="https://example.org/api/a"/><link href="https://example.org/a"/></entry>'
            b'<entry><link rel="alternate" href="b"/></entry></feed>',
            ("https://example.org/a", "b"),
        ),
        (b"https://example.org/a\r\n\r\nhttps://example.org/b\r\n", ("https://example.org/a", "https://example.org/b")),
        (b"\xef\xbb\xbfHTTPS://example.org/a", ("HTTPS://example.org/a",)),
    ],
)
def test_every_form(content, pages):
    assert read_sitemap(content, url=URL).pages == pages
    assert read_sitemap(gzip.compress(content), url=URL).pages == pages


def test_an_index_leads_to_sitemaps_and_not_to_pages():
    content = f"<sitemapindex {NAMESPACE}><sitemap><loc>https://example.org/1.xml</loc></sitemap></sitemapindex>"
    found = read_sitemap(content.encode(), url=URL)
    assert (found.pages, found.sitemaps) == ((), ("https://example.org/1.xml",))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no sitemap and no feed"),
        (b"A page of text\nhttps://example.org/", "no sitemap and no feed"),
        (b"<!DOCTYPE html><html><body><p>No<br>page</body></html>", "no sitemap and no feed"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "no sitemap and no feed"),
        (b"%PDF-1.7 \0\1\2", "no sitemap and no feed"),
        (b"<urlset><url>&broken", "line 1 is no valid XML"),
        (b"\x1f\x8bdamaged", "no sitemap and no feed: it is no gzip, or damaged"),
        (gzip.compress(urlset("https://example.org/a"))[:-9], "no sitemap and no feed: it is cut off"),
        (b"<urlset>" + b"<a>" * 1000, "nested too deeply"),
    ],
)
def test_what_is_none_is_refused_in_words(content, words):
    with pytest.raises(PageUnavailable, match=words) as caught:
        read_sitemap(content, url=URL)
    assert caught.value.code == "not_a_sitemap"
    assert caught.value.message.startswith(f"{URL} cannot be read: ")


LAUGHS = "".join(f'<!ENTITY l{number} "{f"&l{number - 1};" * 10}">' for number in range(1, 10))


@pytest.mark.parametrize(
    "declared",
    [
        f'<!ENTITY l0 "ha">{LAUGHS}',
        f'<!ENTITY l9 "{"x" * 100_000}">',
        '<!ENTITY l9 SYSTEM "file:///etc/passwd">',
        '<!ENTITY l9 PUBLIC "x" "http://10.0.0.1/">',
        '<!ENTITY % l9 SYSTEM "http://10.0.0.1/"> %l9;',
    ],
)
def test_entities_are_refused_before_they_can_do_anything(declared):
    content = urlset("https://example.org/&l9;", prolog=f"<!DOCTYPE urlset [{declared}]>")
    with pytest.raises(PageUnavailable, match="declares XML entities"):
        read_sitemap(content, url=URL)


def test_a_gzip_bomb_is_never_unpacked():
    bomb = gzip.compress(b"<urlset>") + gzip.compress(b" " * 1024 * 1024) * 200
    tracemalloc.start()
    with pytest.raises(PageUnavailable, match="unpacked it is larger than") as caught:
        read_sitemap(bomb, url=URL)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert caught.value.code == "too_large"
    assert peak < 3 * MOST_BYTES


def test_an_endless_address_is_no_reason_to_give_up():
    found = read_sitemap(urlset("https://example.org/" + "x" * 1_000_000, "https://example.org/b"), url=URL)
    assert found.pages[1] == "https://example.org/b"


def test_a_text_holds_one_address_a_line():
    found = read_sitemap(b"https://example.org/a b\nsee also\n/c\nhttps://example.org/d\n", url=URL)
    assert found.pages == ("https://example.org/a b", "https://example.org/d")
    assert found.notes == (f"{URL} has lines that are no web address; they were left out.",)


def test_what_breaks_off_counts_up_to_there():
    found = read_sitemap(urlset("https://example.org/a")[:-9] + b"\n<url><loc>https://exam", url=URL)
    assert found.pages == ("https://example.org/a",)
    assert found.notes == (f"{URL} is no valid XML from line 2 on; only what comes before was read.",)


@pytest.mark.parametrize("form", ["xml", "text"])
def test_there_is_an_end_to_addresses(form):
    addresses = [f"https://example.org/{number}" for number in range(MOST_ADDRESSES + 1)]
    started = time.monotonic()
    found = read_sitemap(urlset(*addresses) if form == "xml" else "\n".join(addresses).encode(), url=URL)
    assert len(found.pages) == MOST_ADDRESSES
    assert found.notes == (f"{URL} holds more than 50,000 addresses; the others were not read.",)
    assert time.monotonic() - started < 30
