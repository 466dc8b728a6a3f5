"""Plain text, Markdown, CSV, JSON, XML, notebooks, code, RTF, e-mail."""

import codecs
import json
import unicodedata

import pytest

from knowledge.parsing import parse
from tests.knowledge.parsing.telling import read, told

# --- plain text ----------------------------------------------------------------------------------------------


GERMAN = "Der Fluß führt über Äcker und Höfe, müde Käfer hören zu."


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (codecs.BOM_UTF8 + "Grüße".encode(), "Grüße"),
        ("Grüße aus Köln".encode("utf-16"), "Grüße aus Köln"),
        (codecs.BOM_UTF16_BE + "Grüße".encode("utf-16-be"), "Grüße"),
        (codecs.BOM_UTF32_LE + "Grüße".encode("utf-32-le"), "Grüße"),
        ("Text ohne Zeichen für die Reihenfolge".encode("utf-16-le"), "Text ohne Zeichen für die Reihenfolge"),
        (GERMAN.encode("cp1252"), GERMAN),
        ("Съешь же ещё этих мягких французских булок, да выпей чаю. ".encode("cp1251") * 3, None),
        ("吾輩は猫である。名前はまだ無い。どこで生れたか頓と見当がつかぬ。".encode("shift_jis") * 3, None),
    ],
)  # fmt: skip
def test_texts_of_any_encoding(data, text):
    ((_, found),) = read(data, "x.txt")
    assert found == text if text else found.startswith(("Съешь же ещё", "吾輩は猫である"))


def test_a_declared_encoding_is_tried_first():
    assert read("żółw".encode("cp1250"), "x", "text/plain; charset=windows-1250") == [("text", "żółw")]
    assert read("żółw", "x", "text/plain; charset=no-such-thing") == [("text", "żółw")]


def test_encodings_of_seven_bits_and_latin_1_that_is_not():
    japanese = "こんにちは、世界。お元気ですか。"
    assert read(japanese.encode("iso-2022-jp"), "x", "text/plain; charset=iso-2022-jp") == [("text", japanese)]
    assert read(b"\x93quoted\x94 \x97 \xe9", "x", "text/plain; charset=latin-1") == [("text", "“quoted” — é")]


def test_utf_8_that_was_cut_or_written_twice():
    assert read("Naïve café, déjà vu, señor".encode() + b"\xc3", "x")[0][1].startswith("Naïve café, déjà vu, señor")
    assert read("1986–1990".encode().decode("latin-1"), "x") == [("text", "1986–1990")]


def test_text_is_cleaned_and_stays_what_it_was():
    shalom, decomposed = "שלום \u200fعالم", unicodedata.normalize("NFD", "é")
    text = f"One\x00 \x07two\r\nthree   \rfour\n\n\n\n{shalom}\n\n{decomposed} soft\u00adhyphen\u00a0space \ud83d\ude00"
    data = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le").encode()
    assert read(data, "x.txt") == [
        ("text", "One two\nthree\nfour"),
        ("text", shalom),
        ("text", "é softhyphen space 😀"),
    ]


def test_underlined_headings():
    text = "Guide\n=====\nIntro\n\nUse\n---\n\nDo it.\n\nMore\n====\n"
    assert read(text, "x.rst") == [
        ("h1", "Guide"),
        ("text", "Intro"),
        ("h2", "Use"),
        ("text", "Do it."),
        ("h1", "More"),
    ]


def test_a_long_text_without_blank_lines_is_parted_where_paragraphs_end():
    line = "words that fill a line as wide as all the others are in here"
    paragraph = "\n".join([line] * 20) + "\nthe end of it.\n"
    assert len(read(paragraph * 5, "x.txt")) == 5


def test_one_line_of_ten_megabytes():
    ((kind, text),) = read(b"word " * 2_000_000, "x.txt")
    assert (kind, len(text)) == ("text", 9_999_999)


# --- Markdown ------------------------------------------------------------------------------------------------

MARKDOWN = """---
title: The Guide
author: Ada
tags: [a, b]
lang: en-GB
nested: {not: kept}
---

# Install

Some *words* with a [link](http://example.org).
Next line.

```python
def f():

    return 1
```

| a | b |
|---|---|
| 1 | 2 |

- one
- two
  1. deep
  2. deeper

Setext
------
<div>html <b>inside</b></div>
"""


def test_markdown():
    parsed = parse(MARKDOWN.encode(), name="guide.md")
    assert told(parsed) == [
        ("h1", "Install"),
        ("text", "Some words with a link. Next line."),
        ("code", "def f():\n\n    return 1"),
        ("table", "a | b\n1 | 2"),
        ("text", "- one\n- two\n  1. deep\n  2. deeper"),
        ("h2", "Setext"),
        ("text", "html inside"),
    ]
    assert (parsed.title, parsed.language, parsed.mime) == ("The Guide", "en", "text/markdown")
    assert parsed.metadata == {"author": "Ada", "tags": ["a", "b"]}
    assert [block.language for block in parsed.blocks if block.language] == ["python"]


def test_front_matter_that_is_a_bomb_or_none_is_text():
    bomb = "---\na: &a [x,x,x]\nb: &b [*a,*a,*a]\n---\n# Head\n"
    assert ("h1", "Head") in read(bomb, "x.md")
    assert read("---\nnot: [closed\n---\n# Head\n", "x.md")[-1] == ("h1", "Head")


# --- CSV -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found(delimiter):
    text = "\n".join(delimiter.join(row) for row in (("name", "price", "note"), ("nut", "1", "a"), ("bolt", "2", "")))
    parsed = parse(text.encode(), name="x.csv")
    assert told(parsed) == [("table", "name | price | note\nnut | 1 | a\nbolt | 2")]
    assert parsed.blocks[0].header == "name | price | note"


def test_decimal_commas_between_semicolons():
    assert read("Teil;Preis\nMutter;1,50\nBolzen;2,75\n", "x.csv") == [
        ("table", "Teil | Preis\nMutter | 1,50\nBolzen | 2,75")
    ]


def test_quotes_line_breaks_and_excels_own_first_line():
    text = 'sep=;\r\nname;said\r\n"Ada; L.";"one\r\ntwo ""three"""\r\n'
    assert read(text, "x.csv") == [("table", 'name | said\nAda; L. | one two "three"')]


def test_a_quote_that_is_never_closed_swallows_nothing():
    text = "a,b\n" + 'x,"open\n' + "".join(f"row {number},{'y' * 90}\n" for number in range(400))
    found = read(text, "x.csv")
    assert sum("row 399" in part for _, part in found) == 1
    assert len(found[0][1].split("\n")) == 402


def test_numbers_without_names_have_no_header():
    parsed = parse(b"1,2\n3,4\n", name="x.csv")
    assert (told(parsed), parsed.blocks[0].header) == ([("table", "1 | 2\n3 | 4")], "")


def test_a_huge_table_is_read_as_far_as_it_may_be(monkeypatch):
    monkeypatch.setattr("knowledge.parsing.delimited.MOST_ROWS", 1000)
    parsed = parse(b"n,square\n" + b"".join(b"%d,%d\n" % (n, n * n) for n in range(3000)), name="x.csv")
    assert parsed.warnings == ("Only the first 1,000 of 3,001 rows were read.",)
    assert len(parsed.blocks[0].text.split("\n")) == 1000


# --- JSON and XML --------------------------------------------------------------------------------------------


def test_json_is_paths_and_values_as_they_are_written():
    data = {"a": {"b": [1, 2.50, True, None]}, "c": [{"d": "x"}], "e": ""}
    assert read(json.dumps(data), "x.json") == [("text", "a.b: 1, 2.5, true\nc[1].d: x")]
    assert read('{"n": 12345678901234567890123, "f": 1.10}', "x") == [("text", "n: 12345678901234567890123\nf: 1.10")]


def test_records_are_blocks_under_what_leads_to_them():
    data = {"source": "shop", "data": {"items": [{"id": 1, "name": "nut"}, {"id": 2, "name": "bolt"}]}}
    assert read(json.dumps(data), "x.json") == [
        ("text", "source: shop"),
        ("h1", "data"),
        ("h2", "items"),
        ("text", "id: 1\nname: nut"),
        ("text", "id: 2\nname: bolt"),
    ]


def test_json_lines_with_a_broken_one():
    parsed = parse(b'{"a": 1}\nnot json\n{"a": 2}\n', name="x.jsonl")
    assert told(parsed) == [("text", "a: 1"), ("text", "a: 2")]
    assert parsed.warnings == ("1 lines hold no valid JSON and were left out.",)


def test_what_is_only_called_json_is_text():
    parsed = parse(b"Dear all,\nthis is a letter.", name="x.json")
    assert told(parsed) == [("text", "Dear all,\nthis is a letter.")]
    assert parsed.warnings


def test_xml_by_paths():
    feed = (
        '<?xml version="1.0"?><rss><channel><title>News</title><item><title>One</title><link href="u"/></item>'
        "<item><title>Two <b>bold</b> words</title></item></channel></rss>"
    )
    parsed = parse(feed.encode(), name="feed")
    assert told(parsed)[-2:] == [("text", "title: One\nlink.href: u"), ("text", "title: Two bold words")]
    assert (parsed.title, parsed.mime) == ("News", "application/xml")


def test_the_words_in_a_drawing():
    svg = '<svg xmlns="http://www.w3.org/2000/svg"><title>Plan</title><g fill="red"><text>Pump</text></g></svg>'
    assert read(svg, "plan.svg") == [("text", "title: Plan\ng.text: Pump")]


# --- notebooks and code --------------------------------------------------------------------------------------


def test_a_notebook():
    notebook = {
        "nbformat": 4,
        "metadata": {"language_info": {"name": "julia"}},
        "cells": [
            {"cell_type": "markdown", "source": ["# Study\n", "Words."]},
            {
                "cell_type": "code",
                "source": "x = 1",
                "outputs": [
                    {"output_type": "stream", "text": ["printed\n"]},
                    {
                        "output_type": "display_data",
                        "data": {"image/png": "iVBORw0KGgo=" * 99, "text/plain": "<Figure>"},
                    },
                    {"output_type": "error", "ename": "ValueError", "evalue": "no"},
                    {"output_type": "stream", "text": "z" * 20_000},
                ],
            },
        ],
    }
    parsed = parse(json.dumps(notebook).encode(), name="x.ipynb")
    assert told(parsed)[:-1] == [
        ("h1", "Study"),
        ("text", "Words."),
        ("code", "x = 1"),
        ("text", "printed"),
        ("text", "<Figure>"),
        ("text", "ValueError: no"),
    ]
    assert parsed.blocks[2].language == "julia"
    assert len(parsed.blocks[-1].text) == 10_000
    assert parsed.warnings == ("Long outputs of cells were cut.",)


def test_code_is_parted_where_definitions_begin():
    function = '@decorated\ndef f{0}(x):\n    """Do."""\n{1}\n    return x\n\n\n'
    text = "import os\nimport sys\n\n\n" + "".join(
        function.format(n, "    x += 1\n\n    y = 2\n" * 20) for n in range(3)
    )
    parsed = parse(text.encode(), name="pkg/module.py")
    assert [block.text.split("\n")[0] for block in parsed.blocks] == ["import os", "@decorated", "@decorated"]
    assert {(str(block.kind), block.language) for block in parsed.blocks} == {("code", "python")}
    assert "\n".join(text.split()) == "\n".join(" ".join(block.text for block in parsed.blocks).split())
    assert (parsed.mime, parsed.title) == ("text/x-python", "module")


def test_a_large_class_is_parted_where_its_members_begin():
    method = "    int f{0}() {{\n{1}    }}\n\n"
    text = "class Big {\n\n" + "".join(method.format(n, "        x += 1;\n\n" * 40) for n in range(10)) + "}\n"
    parsed = parse(text.encode(), name="Big.java")
    assert len(parsed.blocks) == 10
    assert parsed.blocks[1].text.startswith("    int f1()")


@pytest.mark.parametrize(
    ("text", "name", "mime", "language"),
    [
        ("#!/usr/bin/env python3\nprint(1)\n", "tool", "text/x-python", "python"),
        ("#!/bin/sh\necho\n", "run", "text/x-shell", "shell"),
        ("fn main() {}\n", "main.rs", "text/x-rust", "rust"),
        ("FROM scratch\n", "Dockerfile", "text/x-dockerfile", "dockerfile"),
        ("<template><p>x</p></template>\n", "a.vue", "text/x-vue", "vue"),
    ],
)
def test_languages(text, name, mime, language):
    parsed = parse(text.encode(), name=name)
    assert (parsed.mime, parsed.blocks[0].language) == (mime, language)


# --- RTF and e-mail ------------------------------------------------------------------------------------------


def test_rich_text():
    rtf = rb"{\rtf1\ansi{\info{\title My Letter}}{\fonttbl\f0 Arial;}\f0 Dear Anna,\par Gr\'fc\'dfe \u8212 - Tom\par}"
    parsed = parse(rtf, name="x.doc")
    assert told(parsed) == [("text", "Dear Anna,"), ("text", "Grüße — Tom")]
    assert (parsed.title, parsed.mime) == ("My Letter", "application/rtf")


MAIL = b"""From: Ada <ada@example.org>\r
To: Tom <tom@example.org>\r
Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r
Date: Thu, 1 Oct 2026 10:00:00 +0000\r
MIME-Version: 1.0\r
Content-Type: multipart/mixed; boundary=X\r
\r
--X\r
Content-Type: text/plain; charset=iso-8859-1\r
Content-Transfer-Encoding: quoted-printable\r
\r
Sch=F6ne Gr=FC=DFe\r
--X\r
Content-Type: application/pdf; name="plan.pdf"\r
Content-Disposition: attachment; filename="plan.pdf"\r
\r
%PDF-\r
--X--\r
"""


@pytest.mark.parametrize("name", ["x.eml", "nameless"])
def test_an_e_mail(name):
    parsed = parse(MAIL, name=name)
    assert told(parsed)[1:] == [("text", "Schöne Grüße")]
    assert parsed.blocks[0].text.startswith("Subject: Grüße\nFrom: Ada <ada@example.org>\n")
    assert (parsed.title, parsed.mime) == ("Grüße", "message/rfc822")
    assert parsed.warnings == ("1 attachments were not read; upload them by themselves: plan.pdf.",)


def test_a_saved_page():
    saved = MAIL.replace(b"text/plain", b"text/html").replace(b"Sch=F6ne", b"<p>Sch=F6ne</p>")
    assert read(saved, "x.mht")[1] == ("text", "Schöne")
