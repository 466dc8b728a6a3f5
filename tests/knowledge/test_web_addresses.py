"""Which addresses lead to the same page."""

import pytest

from knowledge.web.addresses import Site, identity, shown


@pytest.mark.parametrize(
    ("url", "same"),
    [
        ("https://example.org/a?b=1", "https://example.org/a?b=1"),
        ("HTTPS://Example.ORG/A?B=1", "https://example.org/A?B=1"),
        (" https://example.org \n", "https://example.org/"),
        ("https://example.org?x=1", "https://example.org/?x=1"),
        ("https://example.org/a#part", "https://example.org/a"),
        ("https://example.org:443/", "https://example.org/"),
        ("http://example.org:80/", "http://example.org/"),
        ("http://example.org:443/", "http://example.org:443/"),
        ("http://example.org:8080/", "http://example.org:8080/"),
        ("https://example.org./a", "https://example.org/a"),
        ("https://example.org/a/./b/../c", "https://example.org/a/c"),
        ("https://example.org/a b", "https://example.org/a%20b"),
        ("https://example.org/%7euser/%2f", "https://example.org/~user/%2F"),
        ("https://example.org/?b=2&a=1&b=1", "https://example.org/?b=2&a=1&b=1"),
        ("https://example.org/?q=a+b%20c", "https://example.org/?q=a+b%20c"),
        ("https://bücher.example/straße", "https://xn--bcher-kva.example/stra%C3%9Fe"),
        ("http://[::1]:80/x", "http://[::1]/x"),
        ("http://[2001:DB8::1]:8080/x", "http://[2001:db8::1]:8080/x"),
    ],
)
def test_identity(url, same):
    assert identity(url) == same
    assert identity(same) == same


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "only http and https"),
        ("example.org/a", "only http and https"),
        ("/a", "only http and https"),
        ("mailto:somebody@example.org", "only http and https"),
        ("javascript:alert(1)", "only http and https"),
        ("file:///etc/passwd", "only http and https"),
        ("http://./", "only http and https"),
        ("http://[::1", "no valid URL"),
        ("http://example.org:99999/", "no valid URL"),
    ],
)
def test_what_is_no_page_has_no_identity(url, words):
    with pytest.raises(ValueError, match=words):
        identity(url)


def test_a_password_is_not_repeated():
    with pytest.raises(ValueError, match="user name or password") as caught:
        identity("https://me:secret@example.org/")
    assert "secret" not in str(caught.value)
    assert "example.org" in str(caught.value)


def test_an_address_is_shown_without_its_end_if_that_is_far():
    assert shown("https://example.org/" + "x" * 500) == "https://example.org/" + "x" * 180 + "…"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("https://example.org/a", "http://www.example.org/b", True),
        ("https://example.org", "https://example.org:443", True),
        ("https://example.org", "https://docs.example.org", False),
        ("https://example.org", "https://example.org:8443", False),
        ("https://example.org", "https://example.com", False),
    ],
)
def test_site(one, other, same):
    assert (Site.of(one) == Site.of(other)) is same
