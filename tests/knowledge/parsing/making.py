"""Files made for tests, by hand: what is in them is known to the byte, and no library writes what another reads."""

import hashlib
import io
import zipfile
from collections.abc import Iterable, Mapping, Sequence

W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
A = "http://schemas.openxmlformats.org/drawingml/2006/main"
P = "http://schemas.openxmlformats.org/presentationml/2006/main"
S = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
R = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
RELATIONS = "http://schemas.openxmlformats.org/package/2006/relationships"


def zipped(members: Mapping[str, str | bytes], *, stored: Iterable[str] = ()) -> bytes:
    stored = set(stored)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content, zipfile.ZIP_STORED if name in stored else zipfile.ZIP_DEFLATED)
    return out.getvalue()


def relations(*entries: tuple[str, str, str]) -> str:
    """Each entry: id, kind, target."""
    inner = "".join(
        f'<Relationship Id="{ident}" Type="{R}/{kind}" Target="{target}"/>' for ident, kind, target in entries
    )
    return f'<Relationships xmlns="{RELATIONS}">{inner}</Relationships>'


# --- Word ----------------------------------------------------------------------------------------------------


def docx(body: str, *, parts: Mapping[str, str] | None = None, head: str = "", title: str = "") -> bytes:
    """``parts`` are further ones in word/, by kind: styles, numbering, footnotes."""
    parts = parts or {}
    core = (
        f'<c xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>{title}</dc:title><dc:creator>Ada</dc:creator></c>'
    )
    members = {
        "[Content_Types].xml": "<Types/>",
        "_rels/.rels": relations(
            ("a", "officeDocument", "word/document.xml"), ("b", "metadata/core-properties", "core.xml")
        ),
        "core.xml": core,
        "word/document.xml": f'{head}<w:document xmlns:w="{W}" xmlns:r="{R}"><w:body>{body}</w:body></w:document>',
        "word/_rels/document.xml.rels": relations(*((kind, kind, f"{kind}.xml") for kind in parts)),
    }
    return zipped(
        members | {f"word/{kind}.xml": f'<w:root xmlns:w="{W}">{xml}</w:root>' for kind, xml in parts.items()}
    )


def p(text: str, *, style: str = "", properties: str = "") -> str:
    styled = f'<w:pStyle w:val="{style}"/>' if style else ""
    return f"<w:p><w:pPr>{styled}{properties}</w:pPr><w:r><w:t>{text}</w:t></w:r></w:p>"


def tc(text: str, properties: str = "") -> str:
    return f"<w:tc><w:tcPr>{properties}</w:tcPr>{p(text)}</w:tc>"


def tbl(*rows: str) -> str:
    return "<w:tbl>" + "".join(f"<w:tr>{row}</w:tr>" for row in rows) + "</w:tbl>"


# --- PowerPoint ----------------------------------------------------------------------------------------------


def pptx(slides: Sequence[str], *, notes: str = "") -> bytes:
    """``slides`` are shape trees; ``notes`` belong to the first."""
    ids = "".join(f'<p:sldId id="{256 + number}" r:id="s{number}"/>' for number in range(len(slides)))
    members = {
        "[Content_Types].xml": "<Types/>",
        "_rels/.rels": relations(("a", "officeDocument", "ppt/presentation.xml")),
        "ppt/presentation.xml": f'<p:pr xmlns:p="{P}" xmlns:r="{R}"><p:sldIdLst>{ids}</p:sldIdLst></p:pr>',
        # Files are named in another order than slides are shown in.
        "ppt/_rels/presentation.xml.rels": relations(
            *((f"s{number}", "slide", f"slides/slide{len(slides) - number}.xml") for number in range(len(slides)))
        ),
    }
    for number, tree in enumerate(slides):
        members[f"ppt/slides/slide{len(slides) - number}.xml"] = _slide(tree)
    if notes:
        members[f"ppt/slides/_rels/slide{len(slides)}.xml.rels"] = relations(
            ("n", "notesSlide", "../notesSlides/n.xml")
        )
        members["ppt/notesSlides/n.xml"] = _slide(shape(notes, "body") + shape("7", "sldNum"))
    return zipped(members)


def _slide(tree: str) -> str:
    return f'<p:sld xmlns:p="{P}" xmlns:a="{A}" xmlns:r="{R}"><p:cSld><p:spTree>{tree}</p:spTree></p:cSld></p:sld>'


def shape(text: str, placeholder: str = "") -> str:
    held = f'<p:nvPr><p:ph type="{placeholder}"/></p:nvPr>' if placeholder else "<p:nvPr/>"
    lines = "".join(f"<a:p><a:r><a:t>{line}</a:t></a:r></a:p>" for line in text.split("\n"))
    return f'<p:sp><p:nvSpPr><p:cNvPr id="1" name="x"/>{held}</p:nvSpPr><p:txBody>{lines}</p:txBody></p:sp>'


# --- Excel ---------------------------------------------------------------------------------------------------


def xlsx(sheets: Mapping[str, str]) -> bytes:
    """Name -> the XML inside a sheet (``rows`` makes it)."""
    names = list(sheets)
    listed = "".join(f'<sheet name="{name}" sheetId="{n}" r:id="r{n}"/>' for n, name in enumerate(names, start=1))
    override = (
        '<Override PartName="/xl/workbook.xml" ContentType="application/vnd.openxmlformats-officedocument.'
        'spreadsheetml.sheet.main+xml"/>'
    )
    members = {
        "[Content_Types].xml": f'<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">{override}</Types>',
        "_rels/.rels": relations(("a", "officeDocument", "xl/workbook.xml")),
        "xl/workbook.xml": f'<workbook xmlns="{S}" xmlns:r="{R}"><sheets>{listed}</sheets></workbook>',
        "xl/_rels/workbook.xml.rels": relations(
            *((f"r{n}", "worksheet", f"worksheets/sheet{n}.xml") for n in range(1, len(names) + 1))
        ),
    }
    for n, name in enumerate(names, start=1):
        members[f"xl/worksheets/sheet{n}.xml"] = f'<worksheet xmlns="{S}">{sheets[name]}</worksheet>'
    return zipped(members)


def rows(values: Sequence[Sequence[str | float | None]], *, after: str = "") -> str:
    xml = []
    for number, row in enumerate(values, start=1):
        cells = []
        for column, value in enumerate(row):
            place = f"{chr(ord('A') + column)}{number}"
            if isinstance(value, str):
                cells.append(f'<c r="{place}" t="inlineStr"><is><t>{value}</t></is></c>')
            elif value is not None:
                cells.append(f'<c r="{place}"><v>{value}</v></c>')
        xml.append(f'<row r="{number}">{"".join(cells)}</row>')
    return f"<sheetData>{''.join(xml)}</sheetData>{after}"


# --- OpenDocument and EPUB -----------------------------------------------------------------------------------

_ODF = "urn:oasis:names:tc:opendocument:xmlns"
_ODF_NAMES = " ".join(
    f'xmlns:{short}="{_ODF}:{name}:1.0"'
    for short, name in (
        ("office", "office"),
        ("text", "text"),
        ("table", "table"),
        ("draw", "drawing"),
        ("presentation", "presentation"),
        ("svg", "svg-compatible"),
    )
)


def odf(body: str, *, kind: str = "text", head: str = "", members: Mapping[str, str] | None = None) -> bytes:
    content = (
        f"{head}<office:document-content {_ODF_NAMES}><office:body><office:{kind}>{body}</office:{kind}></office:body>"
        "</office:document-content>"
    )
    mime = f"application/vnd.oasis.opendocument.{kind}"
    return zipped({"mimetype": mime, "content.xml": content, **(members or {})}, stored=["mimetype"])


def epub(chapters: Mapping[str, str], *, order: Sequence[str] = (), members: Mapping[str, str] | None = None) -> bytes:
    """``chapters`` by name, shown in ``order``."""
    items = "".join(f'<item id="{n}" href="{n}" media-type="application/xhtml+xml"/>' for n in chapters)
    spine = "".join(f'<itemref idref="{n}"/>' for n in order or chapters)
    package = (
        '<package xmlns="http://www.idpf.org/2007/opf" xmlns:dc="http://purl.org/dc/elements/1.1/"><metadata>'
        f"<dc:title>The Book</dc:title><dc:language>de-AT</dc:language></metadata><manifest>{items}</manifest>"
        f"<spine>{spine}</spine></package>"
    )
    container = '<container><rootfiles><rootfile full-path="in%20/o.opf"/></rootfiles></container>'.replace("%20", "")
    all_members = {"mimetype": "application/epub+zip", "META-INF/container.xml": container, "in/o.opf": package}
    all_members |= {f"in/{name}": content for name, content in chapters.items()}
    return zipped(all_members | dict(members or {}), stored=["mimetype"])


# --- PDF -----------------------------------------------------------------------------------------------------

Text = tuple[float, float, float, str, str]  # x, y, size, font (R, B or I), what is written

_FONTS = {"R": "Helvetica", "B": "Helvetica-Bold", "I": "Helvetica-Oblique"}


def lines(*texts: str, x: float = 72, y: float = 700, size: float = 10, font: str = "R") -> list[Text]:
    return [(x, y - number * size * 1.2, size, font, text) for number, text in enumerate(texts)]


def pdf(pages: Sequence[Sequence[Text] | None], *, title: str = "", password: str | None = None) -> bytes:
    """A page of None is a picture. ``password`` is the user's; "" encrypts with none."""
    fonts = " ".join(f"/{key} {3 + number} 0 R" for number, key in enumerate(_FONTS))
    objects: dict[int, bytes] = {1: b"<</Type/Catalog/Pages 2 0 R>>"}
    for number, name in enumerate(_FONTS.values()):
        objects[3 + number] = f"<</Type/Font/Subtype/Type1/BaseFont/{name}/Encoding/WinAnsiEncoding>>".encode()
    streams: dict[int, tuple[str, bytes]] = {
        6: ("/Type/XObject/Subtype/Image/Width 1/Height 1/ColorSpace/DeviceGray/BitsPerComponent 8", b"\x80")
    }
    kids = []
    for number, page in enumerate(pages):
        ident = 10 + 2 * number
        kids.append(f"{ident} 0 R")
        objects[ident] = (
            f"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents {ident + 1} 0 R"
            f"/Resources<</Font<<{fonts}>>/XObject<</Im 6 0 R>>>>>>"
        ).encode()
        streams[ident + 1] = ("", _drawn(page))
    objects[2] = f"<</Type/Pages/Count {len(kids)}/Kids[{' '.join(kids)}]>>".encode()
    objects[7] = f"<</Title({title})>>".encode()
    trailer = "/Root 1 0 R/Info 7 0 R"
    key = b""
    if password is not None:
        key, objects[8] = _encryption(password)
        trailer += "/Encrypt 8 0 R/ID[<00><00>]"
        objects[7] = b"<<>>"
    for ident, (entries, data) in streams.items():
        data = _rc4(hashlib.md5(key + ident.to_bytes(3, "little") + b"\0\0").digest()[:10], data) if key else data
        objects[ident] = f"<<{entries}/Length {len(data)}>>stream\n".encode() + data + b"\nendstream"
    return pdf_file(objects, trailer)


def pdf_file(objects: Mapping[int, bytes], trailer: str) -> bytes:
    out = bytearray(b"%PDF-1.4\n")
    places = {}
    for ident in sorted(objects):
        places[ident] = len(out)
        out += f"{ident} 0 obj\n".encode() + objects[ident] + b"\nendobj\n"
    start = len(out)
    out += b"xref\n0 1\n0000000000 65535 f \n"
    for ident, place in places.items():
        out += f"{ident} 1\n{place:010} 00000 n \n".encode()
    out += f"trailer<</Size {max(objects) + 1}{trailer}>>\nstartxref\n{start}\n%%EOF".encode()
    return bytes(out)


def _drawn(page: Sequence[Text] | None) -> bytes:
    if page is None:
        return b"q 500 0 0 700 50 50 cm /Im Do Q"
    said = []
    for x, y, size, font, text in page:
        escaped = text.encode("cp1252").replace(b"\\", b"\\\\").replace(b"(", b"\\(").replace(b")", b"\\)")
        said.append(f"BT /{font} {size} Tf {x} {y} Td (".encode() + escaped + b") Tj ET")
    return b"\n".join(said)


_PADDING = bytes.fromhex("28BF4E5E4E758A4164004E56FFFA01082E2E00B6D0683E802F0CA9FE6453697A")


def _encryption(password: str) -> tuple[bytes, bytes]:
    """The standard handler's first revision: RC4 with 40 bits."""
    user = (password.encode() + _PADDING)[:32]
    owner = _rc4(hashlib.md5((b"owner" + _PADDING)[:32]).digest()[:5], user)
    permissions = (-4 & 0xFFFFFFFF).to_bytes(4, "little")
    key = hashlib.md5(user + owner + permissions + b"\0").digest()[:5]
    entries = f"/Filter/Standard/V 1/R 2/P -4/O<{owner.hex()}>/U<{_rc4(key, _PADDING).hex()}>"
    return key, f"<<{entries}>>".encode()


def _rc4(key: bytes, data: bytes) -> bytes:
    state = list(range(256))
    j = 0
    for i in range(256):
        j = (j + state[i] + key[i % len(key)]) % 256
        state[i], state[j] = state[j], state[i]
    i = j = 0
    out = bytearray()
    for byte in data:
        i = (i + 1) % 256
        j = (j + state[i]) % 256
        state[i], state[j] = state[j], state[i]
        out.append(byte ^ state[(state[i] + state[j]) % 256])
    return bytes(out)


# --- others --------------------------------------------------------------------------------------------------


def ole(stream: str) -> bytes:
    """As much of Microsoft's older container as tells what is in it."""
    return b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504) + stream.encode("utf-16-le").ljust(512, b"\0")


def deflated_zeros(size: int) -> bytes:
    """A zip whose one member is ``size`` zeros."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("word/document.xml", "w") as member:
        for _ in range(size // (1024 * 1024)):
            member.write(bytes(1024 * 1024))
    return out.getvalue()
