"""Files that are known but not read, by their first bytes."""

from knowledge.parsing.failure import ParseFailed

OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"

_IMAGE = "The file is an image; only text is read. Run OCR over it, or type out what matters."
_SOUND = "The file is a recording; only text is read. Upload a transcript of it."
_ARCHIVE = "The file is an archive, which is not opened. Unpack it and upload the documents that are in it."
_PROGRAM = "The file is a program; only documents are read."
_DATABASE = "The file is a database; export the tables you need as CSV and upload those."
_FONT = "The file is a font; only documents are read."
_PRINT = "The file is written for printers. Convert it to PDF and upload that."

_STARTS = (
    (b"\x89PNG\r\n\x1a\n", _IMAGE),
    (b"\xff\xd8\xff", _IMAGE),
    (b"GIF87a", _IMAGE),
    (b"GIF89a", _IMAGE),
    (b"II*\0", _IMAGE),
    (b"MM\0*", _IMAGE),
    (b"8BPS", _IMAGE),
    (b"\0\0\1\0", _IMAGE),
    (b"AT&TFORM", _IMAGE),
    (b"\xff\x0a", _IMAGE),
    (b"ID3", _SOUND),
    (b"\xff\xfb", _SOUND),
    (b"\xff\xf3", _SOUND),
    (b"fLaC", _SOUND),
    (b"OggS", _SOUND),
    (b"\x1aE\xdf\xa3", _SOUND),
    (b"FLV\1", _SOUND),
    (b"\x1f\x8b", _ARCHIVE),
    (b"BZh", _ARCHIVE),
    (b"\xfd7zXZ\0", _ARCHIVE),
    (b"7z\xbc\xaf\x27\x1c", _ARCHIVE),
    (b"Rar!\x1a\x07", _ARCHIVE),
    (b"\x28\xb5\x2f\xfd", _ARCHIVE),
    (b"MSCF", _ARCHIVE),
    (b"\x7fELF", _PROGRAM),
    (b"MZ", _PROGRAM),
    (b"\xca\xfe\xba\xbe", _PROGRAM),
    (b"\xcf\xfa\xed\xfe", _PROGRAM),
    (b"\0asm", _PROGRAM),
    (b"SQLite format 3\0", _DATABASE),
    (b"PAR1", _DATABASE),
    (b"\x89HDF\r\n\x1a\n", _DATABASE),
    (b"OTTO", _FONT),
    (b"wOFF", _FONT),
    (b"wOF2", _FONT),
    (b"\0\1\0\0\0", _FONT),
    (b"%!PS", _PRINT),
)
_RIFF = {b"WEBP": _IMAGE, b"WAVE": _SOUND, b"AVI ": _SOUND}
_TAR_AT = 257
# Some of these are words too ("MZ", "ID3", "BZh"): then a text may begin with them.
_WORDS_UNTIL = 512


def refuse_known(data: bytes) -> None:
    """Raise ParseFailed for an image, a recording, an archive or whatever else is known and holds no text to read."""
    words = next((words for start, words in _STARTS if data.startswith(start)), "")
    if words and data[:8].isascii() and _is_text(data[:_WORDS_UNTIL]):
        return
    if data.startswith(b"RIFF"):
        words = _RIFF.get(data[8:12], "")
    elif data[4:8] == b"ftyp":
        words = _IMAGE if data[8:12] in (b"heic", b"heix", b"mif1", b"avif") else _SOUND
    elif data[_TAR_AT : _TAR_AT + 5] == b"ustar":
        words = _ARCHIVE
    elif data.startswith(b"BM") and data[6:10] == b"\0\0\0\0":
        words = _IMAGE
    if words:
        raise ParseFailed("unsupported", words)


def _is_text(data: bytes) -> bool:
    return not any(byte < 9 or 13 < byte < 32 for byte in data)
