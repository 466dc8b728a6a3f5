"""Files that are broken or meant to break something: each ends quickly, in words."""

import io
import random
import struct
import time
import zipfile

import pytest

from knowledge.blocks import Parsed
from knowledge.parsing import ParseFailed, parse
from tests.knowledge.parsing.making import (
    deflated_zeros,
    docx,
    epub,
    lines,
    odf,
    p,
    pdf,
    pptx,
    rows,
    shape,
    xlsx,
    zipped,
)

SAMPLES = {
    "a.pdf": pdf([lines("Some words on a page.")]),
    "a.docx": docx(p("Some words.") * 50),
    "a.pptx": pptx([shape("Some words.")]),
    "a.xlsx": xlsx({"S": rows([["a", "b"], ["c", "d"]])}),
    "a.odt": odf("<text:p>Some words.</text:p>"),
    "a.epub": epub({"c.xhtml": "<html><body><p>Some words.</p></body></html>"}),
    "a.html": b"<!doctype html><html><body><p>Some words.</p></body></html>",
    "a.md": b"# Head\n\nSome words.\n",
    "a.csv": b"name,price\nnut,1\nbolt,2\n",
    "a.json": b'[{"name": "nut"}, {"name": "bolt"}]',
    "a.ipynb": b'{"nbformat": 4, "cells": [{"cell_type": "markdown", "source": "words"}]}',
    "a.xml": b"<?xml version='1.0'?><a><b>words</b></a>",
    "a.rtf": rb"{\rtf1 Some words.\par}",
    "a.eml": b"From: a@b.c\nMIME-Version: 1.0\nSubject: x\n\nSome words.\n",
    "a.py": b"def f():\n    return 1\n",
}


def failure(data: bytes, name: str = "x", mime: str = "") -> ParseFailed:
    with pytest.raises(ParseFailed) as caught:
        parse(data, name=name, mime=mime)
    assert caught.value.message.endswith(".")
    return caught.value


def outcome(data: bytes, name: str) -> Parsed | ParseFailed:
    try:
        return parse(data, name=name)
    except ParseFailed as failed:
        return failed


# --- empty and cut ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"", b"\0" * 5000, b" \r\n\t", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("name", ["x.pdf", "x.docx", "x.txt", "x.html", "x"])
def test_nothing(data, name):
    assert failure(data, name).code == "empty"


@pytest.mark.parametrize(
    "data", [docx(""), pptx([""]), xlsx({"S": rows([])}), odf(""), epub({"c": "<html/>"}), pdf([[]])]
)
def test_documents_without_text(data):
    assert failure(data).code == "empty"


@pytest.mark.parametrize("name", SAMPLES)
def test_files_that_were_cut_anywhere(name):
    data = SAMPLES[name]
    for cut in range(1, 20):
        found = outcome(data[: len(data) * cut // 20], name)
        if isinstance(found, ParseFailed):
            assert found.code in ("broken", "empty", "unsupported"), found.detail
    whole = outcome(data, name)
    assert isinstance(whole, Parsed)
    assert whole.warnings == ()


@pytest.mark.parametrize("name", SAMPLES)
def test_files_with_bytes_changed_at_random(name):
    chance = random.Random(name)
    for _ in range(25):
        data = bytearray(SAMPLES[name])
        for _ in range(chance.randint(1, 8)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        found = outcome(bytes(data), name)
        if isinstance(found, ParseFailed):
            assert found.code != "out_of_memory"


# --- types that lie -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["a.pdf", "a.docx", "a.pptx", "a.xlsx", "a.odt", "a.epub", "a.html", "a.rtf", "a.eml", "a.xml"]
)
def test_what_a_file_is_shows_its_content(name):
    honest = parse(SAMPLES[name], name=name)
    assert parse(SAMPLES[name], name="a.txt", mime="text/plain").blocks == honest.blocks
    assert parse(SAMPLES[name], name="a", mime="image/png").mime == honest.mime


@pytest.mark.parametrize(
    ("start", "words"),
    [
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "image"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF\0", "image"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "image"),
        (b"\0\0\0\x18ftypheic", "image"),
        (b"BM\x36\0\0\0\0\0\0\0", "image"),
        (b"ID3\x03\0\0\0", "recording"),
        (b"RIFF\0\0\0\0WAVEfmt ", "recording"),
        (b"\0\0\0\x18ftypmp42", "recording"),
        (b"\x1f\x8b\x08\0\0\0", "archive"),
        (b"7z\xbc\xaf\x27\x1c\0", "archive"),
        (b"x" * 257 + b"ustar\0", "archive"),
        (b"\x7fELF\x02\x01\x01\0", "program"),
        (b"MZ\x90\0\x03\0", "program"),
        (b"SQLite format 3\0\x10\0", "database"),
        (b"%!PS-Adobe-3.0\n\x04", "printers"),
        (bytes(range(256)) * 4, "Convert it"),
    ],
)
def test_what_is_no_document(start, words):
    failed = failure(start + b"\0\x01\x02" * 500, "x.txt", "text/plain")
    assert failed.code == "unsupported"
    assert words in failed.message


def test_texts_that_begin_like_something_else():
    for text in (
        "MZ is the abbreviation of Mainz.",
        "ID3 tags are in music.",
        "PAR1 and PAR2",
        "BZh",
        "Mail me a %PDF-1.4 file",
    ):
        assert parse(text.encode(), name="x").blocks[0].text == text


# --- bombs --------------------------------------------------------------------------------------------------


def test_a_zip_bomb_is_not_unpacked():
    bomb = deflated_zeros(300 * 1024 * 1024)
    assert len(bomb) < 1_000_000
    began = time.process_time()
    assert failure(bomb, "x.docx").code == "too_large"
    assert time.process_time() - began < 0.5


def test_a_member_that_is_larger_than_it_says():
    data = bytearray(docx("<w:p/>" * 400_000))
    # Both headers of the document's part are made to promise a kilobyte.
    for mark, place in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        at = -1
        while (at := data.find(mark, at + 1)) >= 0:
            size = struct.unpack_from("<I", data, at + place)[0]
            if size > 100_000:
                struct.pack_into("<I", data, at + place, 1024)
    assert failure(bytes(data), "x.docx").code == "broken"


def test_members_without_end():
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for number in range(20_001):
            archive.writestr(f"{number}", b"")
    assert failure(out.getvalue(), "x.docx").code == "too_large"


def test_zips_in_zips_are_not_opened():
    inner = zipped({"word/document.xml": "x"})
    for _ in range(3):
        inner = zipped({"a.zip": inner})
    assert failure(inner, "x.zip").code == "unsupported"


LAUGHS = (
    '<!DOCTYPE lolz [<!ENTITY a0 "lol">'
    + "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 10))
    + "]>"
)
OUTSIDE = '<!DOCTYPE x [<!ENTITY a9 SYSTEM "file:///etc/passwd">]>'


@pytest.mark.parametrize("head", [LAUGHS, OUTSIDE, LAUGHS.replace("ENTITY a9", "ENTITY % a9")])
@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda head: docx(p("words &a9;"), head=head), "x.docx"),
        (lambda head: odf("<text:p>words &a9;</text:p>", head=head), "x.odt"),
        (lambda head: f"<?xml version='1.0'?>{head}<svg><text>words &a9;</text></svg>".encode(), "x.svg"),
        (lambda head: epub({"c": f"{head}<html><body><p>words &a9;</p></body></html>"}), "x.epub"),
        (lambda head: f"<?xml version='1.0'?>{head}<html><body><p>words &a9;</p></body></html>".encode(), "x.xhtml"),
    ],
)  # fmt: skip
def test_xml_entities_are_not_followed(head, make, name):
    found = outcome(make(head), name)
    if isinstance(found, ParseFailed):
        assert found.code == "broken"
    else:
        text = "".join(block.text for block in found.blocks)
        assert "words" in text
        assert "lollol" not in text
        assert "root:" not in text


# --- depth --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"[" * 100_000 + b"]" * 100_000, "x.json"),
        (b'{"a":' * 5_000 + b"1" + b"}" * 5_000, "x.json"),
        (b'{"nbformat":4,"cells":' + b"[" * 100_000, "x.ipynb"),
        (b"<?xml version='1.0'?>" + b"<a>" * 50_000 + b"x" + b"</a>" * 50_000, "x.xml"),
        (docx("<w:sdt><w:sdtContent>" * 20_000 + p("x") + "</w:sdtContent></w:sdt>" * 20_000), "x.docx"),
        (odf("<text:section>" * 20_000 + "<text:p>x</text:p>" + "</text:section>" * 20_000), "x.odt"),
        (b"> " * 20_000 + b"quote", "x.md"),
        (b"- " * 20_000 + b"item", "x.md"),
        (b"{\\rtf1" + b"{" * 100_000 + b"x" + b"}" * 100_000, "x.rtf"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_nests_without_end(data, name):
    began = time.monotonic()
    found = outcome(data, name)
    assert time.monotonic() - began < 30
    if isinstance(found, ParseFailed):
        assert found.code in ("broken", "empty")


@pytest.mark.parametrize("element", ["div", "span", "table><tr><td", "ul><li", "b"])
def test_html_that_nests_without_end(element):
    page = "<html><body><p>Before.</p>" + f"<{element}>" * 20_000 + "deep" + "<p>After.</p></body></html>"
    found = outcome(page.encode(), "x.html")
    assert isinstance(found, Parsed)
    assert found.blocks[0].text == "Before."


def test_json_of_modest_depth_is_read():
    assert parse(b'{"a":' * 90 + b'"x"' + b"}" * 90, name="x.json").blocks[0].text.endswith('"x"' + "}" * 29)


# --- size ---------------------------------------------------------------------------------------------------


def test_a_document_of_too_much_text(monkeypatch):
    monkeypatch.setattr("knowledge.parsing.draft.MOST_CHARACTERS", 1000)
    assert failure(b"word " * 1000, "x.txt").code == "too_large"


def test_a_sheet_of_too_many_rows(monkeypatch):
    monkeypatch.setattr("knowledge.parsing.sheets.MOST_ROWS", 10)
    parsed = parse(xlsx({"S": rows([["n", "m"], *([n, n] for n in range(50))])}), name="x.xlsx")
    assert parsed.warnings == ("Of sheet “S”, only the first 10 of 51 rows were read.",)


def test_a_cell_that_claims_to_span_everything():
    html = b"<html><table><tr><td colspan=99999 rowspan=99999>x<td>y</tr>" + b"<tr><td>z</tr>" * 500 + b"</table>"
    began = time.monotonic()
    assert isinstance(outcome(html, "x.html"), Parsed)
    assert time.monotonic() - began < 30


def test_names_that_are_odd():
    for name in ("", "..", "a/../../b.txt", "C:\\docs\\b.txt", "\udcff.txt", "x" * 10_000, ".txt", "a\0b"):
        assert parse(b"words", name=name).title


def test_nothing_of_a_document_is_said_to_the_log():
    failed = failure(SAMPLES["a.docx"][:300] + b"secret" * 99, "x.docx")
    assert "secret" not in failed.detail
