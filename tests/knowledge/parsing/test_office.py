"""Word, PowerPoint, Excel, OpenDocument."""

import pytest

from knowledge.parsing import ParseFailed, parse
from tests.knowledge.parsing.making import A, docx, odf, ole, p, pptx, relations, rows, shape, tbl, tc, xlsx, zipped
from tests.knowledge.parsing.telling import read, told

STYLES = """
<w:style w:styleId="a"><w:name w:val="heading 1"/></w:style>
<w:style w:styleId="b"><w:name w:val="Klausel"/><w:basedOn w:val="c"/></w:style>
<w:style w:styleId="c"><w:name w:val="x"/><w:basedOn w:val="b"/><w:pPr><w:outlineLvl w:val="1"/></w:pPr></w:style>
"""


# --- Word ----------------------------------------------------------------------------------------------------


def test_word_headings_by_style_outline_and_inheritance():
    body = p("One", style="a") + p("text") + p("Two", style="b") + p("Three", properties='<w:outlineLvl w:val="2"/>')
    parsed = parse(docx(body, parts={"styles": STYLES}, title="The Title"), name="x.docx")
    assert told(parsed) == [("h1", "One"), ("text", "text"), ("h2", "Two"), ("h3", "Three")]
    assert (parsed.title, parsed.metadata) == ("The Title", {"author": "Ada"})
    assert parsed.mime == "application/vnd.openxmlformats-officedocument.wordprocessingml.document"


def test_word_numbers_are_counted_as_word_does():
    levels = "".join(
        f'<w:lvl w:ilvl="{depth}"><w:start w:val="1"/><w:numFmt w:val="{style}"/><w:lvlText w:val="{text}"/></w:lvl>'
        for depth, style, text in ((0, "decimal", "%1."), (1, "decimal", "%1.%2"), (2, "lowerLetter", "(%3)"))
    )
    bullets = '<w:lvl w:ilvl="0"><w:numFmt w:val="bullet"/><w:lvlText w:val="x"/></w:lvl>'
    numbering = (
        f'<w:abstractNum w:abstractNumId="0">{levels}</w:abstractNum>'
        f'<w:abstractNum w:abstractNumId="1">{bullets}</w:abstractNum>'
        '<w:num w:numId="5"><w:abstractNumId w:val="0"/></w:num><w:num w:numId="6"><w:abstractNumId w:val="1"/></w:num>'
    )

    def numbered(text, number, depth, style=""):
        return p(
            text, style=style, properties=f'<w:numPr><w:ilvl w:val="{depth}"/><w:numId w:val="{number}"/></w:numPr>'
        )

    body = (
        numbered("Scope", 5, 0, "a")
        + numbered("Term", 5, 0, "a")
        + numbered("first", 5, 1)
        + numbered("second", 5, 1)
        + numbered("letter", 5, 2)
        + p("between")
        + numbered("Fees", 5, 0, "a")
        + numbered("again", 5, 1)
        + p("between")
        + numbered("point", 6, 0)
    )
    assert read(docx(body, parts={"styles": STYLES, "numbering": numbering})) == [
        ("h1", "1. Scope"),
        ("h1", "2. Term"),
        ("text", "2.1 first\n2.2 second\n  (a) letter"),
        ("text", "between"),
        ("h1", "3. Fees"),
        ("text", "3.1 again"),
        ("text", "between"),
        ("text", "- point"),
    ]


def test_word_notes_changes_and_hidden_text():
    notes = f'<w:footnote w:id="3">{p("As amended.")}</w:footnote>'
    body = (
        "<w:p><w:r><w:t>Kept</w:t></w:r><w:del><w:r><w:delText>gone</w:delText></w:r></w:del>"
        "<w:ins><w:r><w:t> added</w:t></w:r></w:ins><w:r><w:rPr><w:vanish/></w:rPr><w:t>hidden</w:t></w:r>"
        '<w:r><w:footnoteReference w:id="3"/></w:r></w:p>'
    )
    # The relation's kind is footnotes, the part's too.
    assert read(docx(body, parts={"footnotes": notes})) == [("text", "Kept added[1]"), ("text", "[1] As amended.")]


def test_word_content_controls_and_boxes_are_read_once():
    box = "<w:txbxContent>" + p("In a box") + "</w:txbxContent>"
    inner = f"<mc:Choice>{box}</mc:Choice><mc:Fallback>{box}</mc:Fallback>"
    around = f"<w:p><w:r><w:t>Around</w:t><mc:AlternateContent xmlns:mc='m'>{inner}</mc:AlternateContent></w:r></w:p>"
    body = f"<w:sdt><w:sdtContent>{p('Controlled')}</w:sdtContent></w:sdt>{around}"
    assert read(docx(body)) == [("text", "Controlled"), ("text", "Around"), ("text", "In a box")]


def test_word_tables_with_merged_cells():
    table = tbl(
        tc("Name") + tc("Old") + tc("New"),
        tc("A", '<w:vMerge w:val="restart"/>') + tc("both", '<w:gridSpan w:val="2"/>'),
        tc("", "<w:vMerge/>") + tc("b") + tc("c"),
    )
    (block,) = parse(docx(table), name="x").blocks
    assert block.text == "Name | Old | New\nA | both\nA | b | c"
    assert block.header == "Name | Old | New"


# --- PowerPoint ----------------------------------------------------------------------------------------------


def test_slides_in_the_order_they_are_shown():
    slides = [
        shape("Below the title\nand more") + shape("First", "ctrTitle") + shape("3", "sldNum"),
        f"<p:grpSp>{shape('In a group')}</p:grpSp>"
        '<p:pic><p:nvPicPr><p:cNvPr id="4" name="p" descr="A red bridge"/></p:nvPicPr></p:pic>',
    ]
    parsed = parse(pptx(slides, notes="Say hello."), name="talk.pptx")
    assert [(block.page, *pair) for block, pair in zip(parsed.blocks, told(parsed), strict=True)] == [
        (1, "h1", "Slide 1"),
        (1, "h2", "First"),
        (1, "text", "Below the title\nand more"),
        (1, "text", "Notes: Say hello."),
        (2, "h1", "Slide 2"),
        (2, "text", "In a group"),
        (2, "text", "Picture: A red bridge"),
    ]
    assert parsed.title == "First"


def test_a_table_on_a_slide():
    def cell(text, attributes=""):
        return f"<a:tc {attributes}><a:txBody><a:p><a:r><a:t>{text}</a:t></a:r></a:p></a:txBody></a:tc>"

    high, wide, covered, below = 'rowSpan="2"', 'gridSpan="2"', 'hMerge="1"', 'vMerge="1"'
    table = (
        '<p:graphicFrame><a:graphic><a:graphicData><a:tbl><a:tblPr firstRow="1"/>'
        f"<a:tr>{cell('Year')}{cell('Plan')}{cell('Real')}</a:tr>"
        f"<a:tr>{cell('2025', high)}{cell('1', wide)}{cell('', covered)}</a:tr>"
        f"<a:tr>{cell('', below)}{cell('2')}{cell('3')}</a:tr></a:tbl></a:graphicData></a:graphic></p:graphicFrame>"
    )
    assert read(pptx([table]))[1:] == [("table", "Year | Plan | Real\n2025 | 1\n2025 | 2 | 3")]


def test_a_chart_on_a_slide_is_a_table():
    c = "http://schemas.openxmlformats.org/drawingml/2006/chart"

    def points(name, *values):
        inner = "".join(f'<c:pt idx="{n}"><c:v>{value}</c:v></c:pt>' for n, value in enumerate(values))
        return f"<c:{name}><c:numRef><c:numCache>{inner}</c:numCache></c:numRef></c:{name}>"

    series = "".join(
        f"<c:ser>{points('tx', name)}{points('cat', 'Q1', 'Q2')}{points('val', *values)}</c:ser>"
        for name, values in (("Sales", (3, 4)), ("Costs", (1, 2)))
    )
    title = f'<c:title><c:tx><c:rich><a:p xmlns:a="{A}"><a:r><a:t>Money</a:t></a:r></a:p></c:rich></c:tx></c:title>'
    chart = f'<c:chartSpace xmlns:c="{c}"><c:chart>{title}<c:plotArea>{series}</c:plotArea></c:chart></c:chartSpace>'
    frame = (
        f'<p:graphicFrame><a:graphic><a:graphicData><c:chart xmlns:c="{c}" r:id="k"/></a:graphicData></a:graphic>'
        "</p:graphicFrame>"
    )
    base = _members(pptx([frame]))
    base["ppt/slides/_rels/slide1.xml.rels"] = relations(("k", "chart", "../charts/c.xml"))
    base["ppt/charts/c.xml"] = chart
    assert read(zipped(base))[1:] == [("text", "Chart: Money"), ("table", " | Sales | Costs\nQ1 | 3 | 1\nQ2 | 4 | 2")]


def _members(data):
    import io
    import zipfile

    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


# --- Excel ---------------------------------------------------------------------------------------------------


def test_sheets_are_pages_with_their_names():
    merged = '<mergeCells count="1"><mergeCell ref="A2:A3"/></mergeCells>'
    data = xlsx(
        {
            "Prices": rows([["Kind", "Size", "EUR"], ["Bolt", 8, 1.5], [None, 10, 2]], after=merged),
            "Notes": rows([["Only words here"]]),
            "Nothing": rows([]),
        }
    )
    parsed = parse(data, name="shop/list.xlsx")
    assert parsed.title == "list"
    assert [(block.page, *pair) for block, pair in zip(parsed.blocks, told(parsed), strict=True)] == [
        (1, "h1", "Prices"),
        (1, "table", "Kind | Size | EUR\nBolt | 8 | 1.5\nBolt | 10 | 2"),
        (2, "h1", "Notes"),
        (2, "text", "Only words here"),
    ]
    assert parsed.blocks[1].header == "Kind | Size | EUR"


def test_tables_on_a_sheet_are_parted_by_blank_rows():
    sheet = rows([["Stock"], ["Part", "Count"], ["nut", 4], [], ["Part", "Price"], ["nut", 0.1], [], ["bolt", 2]])
    assert read(xlsx({"Sheet1": sheet})) == [
        ("h2", "Stock"),
        ("table", "Part | Count\nnut | 4"),
        ("table", "Part | Price\nnut | 0.1"),
        ("table", "Part | Price\nbolt | 2"),  # rows without names of their own go on in the table above
    ]


def test_many_columns_are_read_as_records():
    names = [f"column {number}" for number in range(15)]
    table = read(xlsx({"Sheet1": rows([names, list(range(15)), list(range(15, 30))])}))
    assert len(table) == 2
    assert table[1][1].startswith("column 0: 15\ncolumn 1: 16\n")


# --- OpenDocument --------------------------------------------------------------------------------------------


def test_an_opendocument_text():
    body = (
        "<text:tracked-changes><text:p>deleted</text:p></text:tracked-changes>"
        '<text:h text:outline-level="2">Head</text:h>'
        '<text:p>One<text:s text:c="2"/>two<text:line-break/>three<text:note><text:note-citation>1</text:note-citation>'
        "<text:note-body><text:p>A note</text:p></text:note-body></text:note>"
        "<draw:frame><draw:text-box><text:p>Boxed</text:p></draw:text-box></draw:frame></text:p>"
        "<text:list><text:list-item><text:p>a</text:p><text:list><text:list-item><text:p>b</text:p></text:list-item>"
        "</text:list></text:list-item></text:list>"
        "<table:table><table:table-row><table:table-cell><text:p>K</text:p></table:table-cell><table:table-cell>"
        '<text:p>V</text:p></table:table-cell></table:table-row><table:table-row table:number-rows-repeated="2">'
        '<table:table-cell table:number-columns-repeated="2"><text:p>7</text:p></table:table-cell></table:table-row>'
        '<table:table-row table:number-rows-repeated="1048576"><table:table-cell '
        'table:number-columns-repeated="16384"/></table:table-row></table:table>'
    )
    assert read(odf(body)) == [
        ("h2", "Head"),
        ("text", "One  two\nthree[1]"),
        ("text", "Boxed"),
        ("text", "- a\n  - b"),
        ("table", "K | V\n7 | 7\n7 | 7"),
        ("text", "[1] A note"),
    ]


def test_an_opendocument_presentation():
    body = (
        '<draw:page><draw:frame presentation:class="title"><draw:text-box><text:p>Welcome</text:p></draw:text-box>'
        "</draw:frame></draw:page><draw:page><draw:frame><svg:desc>A map</svg:desc></draw:frame></draw:page>"
    )
    parsed = parse(odf(body, kind="presentation"), name="x.odp")
    assert [(block.page, block.text) for block in parsed.blocks] == [(1, "Welcome"), (2, "Picture: A map")]


# --- what is not read ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "name", "code", "words"),
    [
        (ole("EncryptedPackage"), "x.docx", "encrypted", "password"),
        (ole("WordDocument"), "x.doc", "unsupported", "Save it as DOCX"),
        (ole("PowerPoint Document"), "x.ppt", "unsupported", "Save it as PPTX"),
        (ole("__substg1.0_"), "x.msg", "unsupported", "EML"),
        (ole("Something"), "x", "unsupported", "PDF"),
        (ole("Workbook"), "x.xls", "broken", "damaged"),
        (odf("", members={"META-INF/manifest.xml": "<m><encryption-data/></m>"}), "x.odt", "encrypted", "password"),
        (zipped({"[Content_Types].xml": "<Types/>", "other/part": "x"}), "x.vsdx", "unsupported", "archive"),
        (zipped({"a.docx": docx(p("inside"))}), "docs.zip", "unsupported", "Unpack it"),
    ],
)
def test_what_cannot_be_read_is_told_with_what_to_do(data, name, code, words):
    with pytest.raises(ParseFailed, match=words) as caught:
        parse(data, name=name)
    assert caught.value.code == code
