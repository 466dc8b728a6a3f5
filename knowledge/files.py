"""What the names on a command line stand for: files, all files of folders, and pages of the web."""

import mimetypes
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

WITHOUT_TEXT = ("audio/", "font/", "image/", "video/")
ARCHIVES = frozenset({"application/zip", "application/gzip", "application/x-tar", "application/x-7z-compressed"})


class NothingThere(Exception):
    """A name stands for nothing that can be read; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundFile:
    """``source`` is what its document is recognised by: its name, in a folder that was named with that before it."""

    path: Path
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """``skipped`` are files of folders that hold no text, such as pictures."""

    files: tuple[FoundFile, ...]
    urls: tuple[str, ...]
    skipped: tuple[Path, ...]


def find(names: Iterable[str]) -> Found:
    """Look up files, folders (with everything below them, sorted, but for hidden files) and http(s) addresses.

    Raises NothingThere for what does not exist, and for two files that would be one document.
    """
    files: dict[str, FoundFile] = {}
    urls: dict[str, None] = {}
    skipped: list[Path] = []
    for name in names:
        if name.lower().startswith(("http://", "https://")):
            urls[name] = None
            continue
        for found in _below(Path(name)):
            if found.path != Path(name) and not may_hold_text(found.path.name):
                skipped.append(found.path)
                continue
            other = files.setdefault(found.source, found)
            if other.path.resolve() != found.path.resolve():
                raise NothingThere(
                    f"{other.path} and {found.path} would both be the document '{found.source}'. "
                    "Rename one, or put them into different collections."
                )
    return Found(files=tuple(files.values()), urls=tuple(urls), skipped=tuple(skipped))


def _below(path: Path) -> Iterator[FoundFile]:
    if path.is_dir():
        yield from _walk(path, path.resolve().name, set())
    elif path.is_file():
        yield FoundFile(path=path, source=path.name)
    else:
        raise NothingThere(f"There is no file or folder {path}.")


def _walk(folder: Path, source: str, seen: set[Path]) -> Iterator[FoundFile]:
    real = folder.resolve()
    if real in seen:  # a link leads back to where it is
        return
    seen.add(real)
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.name.startswith("."):
            continue
        below = f"{source}/{entry.name}" if source else entry.name
        if entry.is_dir():
            yield from _walk(entry, below, seen)
        elif entry.is_file():
            yield FoundFile(path=entry, source=below)


def may_hold_text(name: str) -> bool:
    """Tell by a file's name whether it makes sense to read it; what it is, its content says."""
    kind = mimetypes.guess_type(name)[0] or ""
    return kind == "image/svg+xml" or not (kind.startswith(WITHOUT_TEXT) or kind in ARCHIVES)
