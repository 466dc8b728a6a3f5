"""A zip file from somebody unknown: opened with limits, never unpacked to disk."""

import io
import zipfile
import zlib
from lzma import LZMAError

from knowledge.parsing.failure import ParseFailed, broken, encrypted, too_large

MOST_MEMBERS = 20_000
LARGEST_MEMBER = 256 * 1024 * 1024
LARGEST_TOTAL = 1024 * 1024 * 1024
# Text of office files shrinks to a twentieth, tables of zeros to a hundredth; deflate's limit is a thousandth.
HIGHEST_RATIO = 250
RATIO_COUNTS_FROM = 10 * 1024 * 1024
_DAMAGE = (zipfile.BadZipFile, zlib.error, LZMAError, EOFError, OSError, ValueError, NotImplementedError)


class Archive:
    """The members of a zip file, by name. What they declare is checked when it is opened, what they are when read."""

    def __init__(self, data: bytes, *, what: str = "a zip file") -> None:
        """Open ``data``; raises ParseFailed for what is no zip file, is a bomb, or needs a password."""
        self._what = what
        self._read = 0
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(data))
        except _DAMAGE as error:
            raise broken(what, detail=repr(error)) from error
        members = self._zip.infolist()
        if len(members) > MOST_MEMBERS:
            raise too_large(f"The file is a zip of more than {MOST_MEMBERS:,} members")
        for member in members:
            _check(member)
        if sum(member.file_size for member in members) > LARGEST_TOTAL:
            raise _bomb()
        self._members = {member.filename: member for member in members if not member.is_dir()}

    def __contains__(self, name: str) -> bool:
        return name in self._members

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._members)

    def read(self, name: str) -> bytes:
        """Return the content of the member ``name``, b"" without one; raises ParseFailed."""
        member = self._members.get(name)
        if member is None:
            return b""
        if member.flag_bits & 1:
            raise encrypted("The file")
        try:
            # zipfile gives at most as much as was declared, then compares checksums: a lie is found, not unpacked.
            content = self._zip.read(member)
        except _DAMAGE as error:
            raise broken(self._what, detail=repr(error)) from error
        self._count(len(content))
        return content

    def check(self) -> None:
        """Read every member, a piece at a time, for a library that unpacks by itself; raises ParseFailed."""
        for member in self._members.values():
            if member.flag_bits & 1:
                raise encrypted("The file")
            try:
                with self._zip.open(member) as stream:
                    while piece := stream.read(1024 * 1024):
                        self._count(len(piece))
            except _DAMAGE as error:
                raise broken(self._what, detail=repr(error)) from error

    def _count(self, size: int) -> None:
        # Members may overlap in a file and be read again: what counts is what was unpacked altogether.
        self._read += size
        if self._read > LARGEST_TOTAL:
            raise _bomb()


def _check(member: zipfile.ZipInfo) -> None:
    ratio = member.file_size / max(member.compress_size, 1)
    if member.file_size > LARGEST_MEMBER or (member.file_size > RATIO_COUNTS_FROM and ratio > HIGHEST_RATIO):
        raise _bomb()


def _bomb() -> ParseFailed:
    return ParseFailed(
        "too_large",
        "The file unpacks to far more than a document holds (a zip bomb, or one of enormous content) and was not "
        "opened. If it is genuine, split it or save it as PDF.",
    )
