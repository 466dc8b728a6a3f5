"""What an administrator does with the knowledge base, in a real browser, while it reads in the background."""

import re

import pytest

from tests.browser.test_admin_pages import TOO_WIDE, said

pytestmark = [pytest.mark.served, pytest.mark.browser]

KNOWLEDGE = "/admin/knowledge"
COLLECTIONS, DOCUMENTS = f"{KNOWLEDGE}/collection/", f"{KNOWLEDGE}/document/"
ASK = f"{COLLECTIONS}ask/"
READ_MILLISECONDS = 60_000
"""The model that embeds is loaded for the first document, beside whatever else the machine does."""

LEAVE = """# Leave

## Annual leave
Everyone has thirty days of paid holidays a year. What is not taken by the end of March lapses.

## Parental leave
Parents may take up to three years off for each child, and tell the people team eight weeks before.
"""
TRAVEL = """<!doctype html><title>Travel</title><h1>Travel</h1>
<p>Trains are booked in second class. Nobody writes &lt;script&gt;alert(1)&lt;/script&gt; here.</p>
<h2>Receipts</h2><p>Receipts for taxis are handed in within four weeks.</p>"""


@pytest.fixture
def files(tmp_path):
    """Two documents, and one that cannot be read."""
    written = {"leave.md": LEAVE.encode(), "travel.html": TRAVEL.encode(), "broken.pdf": b"%PDF-1.7\nno more of it"}
    for name, data in written.items():
        (tmp_path / name).write_bytes(data)
    return [tmp_path / name for name in written]


def collection_add(page, name):
    page.goto(COLLECTIONS)
    page.get_by_role("link", name="Add collection").click()
    page.get_by_label("Name:").press_sequentially(name)
    assert page.get_by_label("Slug:").input_value() == name.lower()
    page.get_by_label("Language:").fill("en")
    page.get_by_role("button", name="Save", exact=True).first.click()
    said(page, f"“{name}” was added")


def uploaded(page, name, files):
    """Upload ``files`` and return the part of the next page that tells how far they are, once they all are read."""
    page.goto(COLLECTIONS)
    page.get_by_role("link", name=name, exact=True).click()
    page.get_by_role("link", name="Add documents").click()
    assert page.get_by_label("Collection:").locator("option:checked").inner_text() == name
    page.get_by_label("Files:").set_input_files(files)
    page.get_by_role("button", name="Add", exact=True).click()
    page.wait_for_url("**/batch/**")
    page.evaluate("window.sameAsBefore = true")
    now = page.locator("[data-live]")
    page.locator("[data-live]:not([data-unfinished])").wait_for(timeout=READ_MILLISECONDS)
    assert page.evaluate("window.sameAsBefore")
    return now


def asked(page, question):
    page.get_by_label("Question:").fill(question)
    page.get_by_role("button", name="Ask", exact=True).click()
    page.locator("#found").wait_for()


def test_documents_are_added_watched_found_and_switched_off(page, files):
    collection_add(page, "Handbook")
    now = uploaded(page, "Handbook", files)
    assert "100% 3 jobs: 2 done, 1 failed." in now.inner_text()
    assert now.locator("#overall").evaluate("bar => bar.position") == 1
    rows = {
        row.locator("th").inner_text(): row.locator("td").first.inner_text() for row in now.locator("tbody tr").all()
    }
    assert re.fullmatch(r"done, created \d+\.\d s", rows["Leave"])
    assert rows["Travel"].startswith("done, created")
    assert rows["broken.pdf"].startswith("failed")
    assert len(rows["broken.pdf"]) > 20  # why, in words

    page.goto(COLLECTIONS)
    row = page.locator("#result_list tbody tr").filter(has=page.get_by_role("link", name="Handbook", exact=True))
    assert row.locator(".field-document_count").inner_text() == "3"
    row.locator(".field-failed a").click()
    page.wait_for_url("**/document/?**status__exact=failed")
    assert page.locator("#result_list .field-name").all_inner_texts() == ["broken.pdf"]

    page.goto(COLLECTIONS)
    page.get_by_role("link", name="Handbook", exact=True).click()
    page.get_by_role("link", name="Ask it a question").click()
    assert page.get_by_label("Handbook").is_checked()
    asked(page, "How many days of vacation do I get?")
    assert "thirty days of paid holidays" in page.locator("#passages li").first.inner_text()
    first = page.locator("#candidates tbody tr").first.locator("td").all_inner_texts()
    assert (first[0], first[2]) == ("Leave", "1")  # the first by meaning, though it says "holidays"
    assert re.fullmatch(r"0\.\d{3}", first[3])
    assert float(first[6]) > 0.5
    for ranking in ("by-meaning", "by-words", "fused"):
        assert "Annual leave" in page.locator(f"#{ranking} li").first.inner_text()

    page.get_by_role("button", name="Make it a golden query").click()
    said(page, "The question is a golden query of “Handbook” now, answered by 1 document.")
    page.locator("#passages li").first.get_by_role("link", name="Leave").click()
    page.get_by_role("button", name="Keep chunk 1 from being found").click()
    said(page, "Disabled 1 chunk; it is not found any more.")
    page.goto(f"{ASK}?collection=handbook")
    asked(page, "How many days of vacation do I get?")
    assert "thirty days of paid holidays" not in page.locator("#found").inner_text()


def test_a_chunk_is_split_where_the_cursor_is_and_brought_back(page, files):
    collection_add(page, "Curated")
    uploaded(page, "Curated", files[:1])
    page.goto(DOCUMENTS + "?q=leave")
    page.locator("#result_list").get_by_role("link", name="Leave").first.click()
    page.get_by_role("link", name="Source and chunks").click()
    page.get_by_role("link", name="Edit or split chunk 1", exact=True).click()
    field = page.get_by_label("Text:")
    field.evaluate("field => { const at = field.value.indexOf('What is not'); field.setSelectionRange(at, at) }")
    page.get_by_role("button", name="Split where the cursor is").click()
    assert re.search(r"a year\.\n-+8<-+\nWhat is not taken", field.input_value())
    page.get_by_label("Reason:").fill("Two rules.")
    page.get_by_role("button", name="Save").click()
    said(page, "The chunk was changed.")
    if page.locator("[data-live]").count():
        page.locator("[data-live]:not([data-unfinished])").wait_for(timeout=READ_MILLISECONDS)
        page.reload()
    page.locator("#text .edited .chunk").nth(1).wait_for()  # the page may be loading itself anew as well
    assert page.locator("#text .edited .chunk").count() == 2
    assert page.evaluate(TOO_WIDE) == 0

    page.get_by_role("link", name="Leave").click()
    page.get_by_role("link", name="History").click()
    page.get_by_label("Compare from revision 1").check()
    page.get_by_label("Compare to revision 2").check()
    page.get_by_role("button", name="Compare").click()
    assert page.locator("#differences li:not(.same)").count() == 2
    page.get_by_role("link", name="Bring back …").click()
    page.get_by_role("button", name="Bring revision 1 back").click()
    said(page, "Revision 1 is brought back.")


def test_files_are_dropped_on_their_collection(page, files):
    collection_add(page, "Dropped")
    page.goto(COLLECTIONS)
    page.get_by_role("link", name="Dropped", exact=True).click()
    filled = "text => { const data = new DataTransfer(); data.items.add(new File([text], 'new.md')); return data }"
    dropped = page.evaluate_handle(filled, LEAVE)
    for event in ("dragenter", "dragover", "drop"):
        page.dispatch_event("[data-drop]", event, {"dataTransfer": dropped})
    page.wait_for_url("**/batch/**")
    page.locator("[data-live]:not([data-unfinished])").wait_for(timeout=READ_MILLISECONDS)
    assert "1 job: 1 done" in page.locator("[data-live]").inner_text()


def test_more_files_than_are_taken_at_once_are_refused_before_they_are_sent(page, tmp_path):
    collection_add(page, "Many")
    many = [tmp_path / f"{number}.txt" for number in range(101)]
    for path in many:
        path.write_text(path.name)
    page.goto(f"{DOCUMENTS}add/")
    page.get_by_label("Collection:").select_option(label="Many")
    chooser = page.get_by_label("Files:")
    chooser.set_input_files(many)
    page.get_by_role("button", name="Add", exact=True).click()
    assert chooser.evaluate("input => input.validationMessage") == "These are 101 files; choose at most 100 at once."
    assert page.url.endswith(f"{DOCUMENTS}add/")
    chooser.set_input_files(many[:1])
    assert chooser.evaluate("input => input.validationMessage") == ""


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (420, "dark")])
def test_every_page_is_as_wide_as_the_window_and_complains_of_nothing(page, files, width, scheme):
    name = f"Shelf{width}"
    collection_add(page, name)
    uploaded(page, name, files[:1])
    batch = page.url
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=scheme)
    kinds = ("collection", "document", "chunk", "ingestionjob", "embeddingmodel", "goldenquery", "retrievaltrace")
    kinds += ("chunkedit", "documentrevision")
    paths = [f"{KNOWLEDGE}/", batch, f"{KNOWLEDGE}/evaluationrun/", ASK]
    paths += [f"{KNOWLEDGE}/{kind}/" for kind in kinds]
    paths += [f"{KNOWLEDGE}/{kind}/add/" for kind in ("collection", "document", "embeddingmodel", "goldenquery")]
    for kind in ("collection", "document", "chunk", "ingestionjob", "embeddingmodel"):
        page.goto(f"{KNOWLEDGE}/{kind}/")
        paths.append(page.locator("#result_list tbody th a").first.get_attribute("href"))
    own = {path.split("/")[3]: path.partition("change/")[0] for path in paths[-5:]}
    paths += [f"{own['document']}{rest}/" for rest in ("text", "history", "restore/1")]
    paths += [f"{own['chunk']}{rest}/" for rest in ("edit", "merge")]
    page.goto(f"{COLLECTIONS}?q={name}")
    collection = page.locator("#result_list tbody th a").first.get_attribute("href").partition("change/")[0]
    paths += [f"{collection}{rest}/" for rest in ("reingest", "embed", "delete")]
    wide = {}
    for path in paths:
        assert page.goto(path).status == 200
        if pixels := page.evaluate(TOO_WIDE):
            wide[path] = pixels
    asked_of = f"{ASK}?collection={name.lower()}"
    page.goto(asked_of)
    asked(page, "How many days of vacation do I get?")
    if pixels := page.evaluate(TOO_WIDE):
        wide[asked_of] = pixels
    assert wide == {}
