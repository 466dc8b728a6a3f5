import pytest

from knowledge.parsing import parse
from tests.knowledge.parsing.making import epub
from tests.knowledge.parsing.telling import read, told

SENTENCE = "Ducks are birds that swim on ponds and lakes, and they eat plants and small animals. "


def page(body: str, head: str = "<title>Ducks | Site</title>") -> str:
    return f"<!doctype html><html lang='en-GB'><head>{head}</head><body>{body}</body></html>"


def test_the_article_is_read_and_what_stands_around_is_not():
    body = f"""
    <nav><ul><li><a href=/>Home</a></li><li><a href=/shop>Shop</a></li></ul></nav>
    <div class=sidebar><ul>{"<li><a href=/x>Another page of the site</a></li>" * 20}</ul></div>
    <main><article><h1>Ducks</h1><p>{SENTENCE * 3}</p>
    <h2>Food</h2><p>{SENTENCE * 2}</p><pre><code class=language-python>duck = 1
duck.eat()</code></pre>
    <aside class=note><p>Do not feed them bread at all.</p></aside>
    <table><tr><th>Kind<th>Size</tr><tr><td>Mallard<td>60</tr></table><p>{SENTENCE * 2}</p></article></main>
    <footer>Imprint</footer><script>var tracking</script>"""
    parsed = parse(page(body).encode(), name="x")
    assert told(parsed) == [
        ("h1", "Ducks"),
        ("text", (SENTENCE * 3).strip()),
        ("h2", "Food"),
        ("text", (SENTENCE * 2).strip()),
        ("code", "duck = 1\nduck.eat()"),
        ("text", "Do not feed them bread at all."),
        ("table", "Kind | Size\nMallard | 60"),
        ("text", (SENTENCE * 2).strip()),
    ]
    assert (parsed.title, parsed.language, parsed.mime) == ("Ducks", "en", "text/html")
    assert parsed.blocks[4].language == "python"


def test_a_page_without_an_article_is_read_whole():
    body = "<h1>Opening hours</h1><ul><li>Mon 9–12</li><li>Tue <b>closed</b></li></ul><dl><dt>Phone<dd>123</dl>"
    assert read(page(body)) == [
        ("h1", "Opening hours"),
        ("text", "- Mon 9–12\n- Tue closed"),
        ("text", "- Phone\n  123"),
    ]


def test_a_page_that_is_all_navigation_is_not_lost():
    assert read(page("<nav><a href=a>Ask here</a></nav>")) == [("text", "Ask here")]


def test_lists_in_lists_and_breaks():
    body = "<ol><li>one<ul><li>a<br>b</li></ul></li><li><p>two</p><p>more</p></li></ol><p>x<br>y</p>"
    assert read(page(body)) == [("text", "1. one\n  - a\n    b\n2. two\n  more"), ("text", "x\ny")]


def test_tables_with_spans_captions_and_layout():
    table = (
        "<table><caption>Sales</caption><tr><th>Year<th colspan=2>Both</tr><tr><td rowspan=2>2025<td>1<td>2</tr>"
        "<tr><td>3<td>4</tr></table>"
    )
    layout = f"<table><tr><td><h2>Left</h2><td>{table}</tr></table>"
    expected = [("h2", "Left"), ("text", "Sales"), ("table", "Year | Both\n2025 | 1 | 2\n2025 | 3 | 4")]
    assert read(page(layout)) == expected


def test_hidden_things_and_scripts_are_left_out():
    body = "<p hidden>no</p><p style='display: none'>no</p><script>no</script><p>yes<svg><text>no</text></svg></p>"
    assert read(page(body)) == [("text", "yes")]


@pytest.mark.parametrize("style", ["visibility:hidden", "OPACITY: 0", "font-size:0px", "color:red; font-size : 0.0em"])
def test_what_is_styled_so_that_nobody_sees_it_is_left_out(style):
    assert read(page(f"<p style='{style}'>for models</p><p style='opacity:0.5;font-size:0.8em'>for people</p>")) == [
        ("text", "for people")
    ]


def test_encodings_declared_in_the_page_and_with_it():
    latin = page("<p>Größe und Maß</p>", "<meta charset=iso-8859-1>").encode("latin-1")
    assert read(latin) == [("text", "Größe und Maß")]
    assert read(page("<p>żółw</p>", "").encode("cp1250"), "x.html", "text/html; charset=cp1250") == [("text", "żółw")]


def test_what_a_page_says_of_itself():
    head = (
        "<title>Ducks - The Pond</title><meta property=og:title content='All about ducks'>"
        "<meta name=author content=Ada><meta property=article:published_time content=2026-01-02>"
    )
    parsed = parse(page("<p>Quack.</p>", head).encode(), name="x")
    assert (parsed.title, dict(parsed.metadata)) == ("All about ducks", {"author": "Ada", "created": "2026-01-02"})


def test_bad_html_is_read_as_browsers_read_it():
    assert read("<html><p>one<p>two <b>three</p></div></table>") == [("text", "one"), ("text", "two three")]


# --- books ---------------------------------------------------------------------------------------------------

CHAPTER = (
    '<html xmlns="http://www.w3.org/1999/xhtml"><head><title/></head><body><h1>{0}</h1><p>{1}&nbsp;&amp; so.</p>'
    "</body></html>"
)


def test_a_book_in_the_order_of_its_spine():
    chapters = {"z.xhtml": CHAPTER.format("One", "First"), "a.xhtml": CHAPTER.format("Two", "Caf&eacute;")}
    parsed = parse(epub(chapters), name="b.epub")
    assert told(parsed) == [("h1", "One"), ("text", "First & so."), ("h1", "Two"), ("text", "Café & so.")]
    assert (parsed.title, parsed.language, parsed.mime) == ("The Book", "de", "application/epub+zip")


def test_a_chapter_that_is_no_xml_and_one_that_is_missing():
    chapters = {"a.html": "<html><body><p>un<br>closed<p>text", "b.html": ""}
    data = epub(chapters).replace(b"in/b.html", b"in/c.html")
    parsed = parse(data, name="b.epub")
    assert told(parsed) == [("text", "un\nclosed"), ("text", "text")]
    assert parsed.warnings == ("1 parts of the book are missing in the file.",)
