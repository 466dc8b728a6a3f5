"""A folder of this machine as a source: files by size and time, and no link that leads out of it."""

import os
from collections.abc import Iterator
from pathlib import Path

from knowledge.files import may_hold_text
from knowledge.receiving import Incoming
from knowledge.watching.findings import ItemFailed, Listing, SourceFailed
from knowledge.watching.patterns import Pattern

LARGEST = 256 * 1024 * 1024
MOST_FILES = 50_000


class Folder:
    """``root`` has no links in its own path."""

    reason = "It changed in its folder."

    def __init__(self, root: Path, pattern: Pattern) -> None:
        self._root = root
        self._pattern = pattern
        self._links = 0
        self._unreadable: list[str] = []
        self._stopped = False

    def listing(self) -> Listing:
        """Return the files that can hold text. Raises SourceFailed."""
        try:
            next(self._root.iterdir(), None)
        except OSError as error:
            raise SourceFailed(f"The folder cannot be read: {error.strerror}.") from error
        stamps: dict[str, str] = {}
        for path, found in self._files(self._root):
            if len(stamps) == MOST_FILES:
                raise SourceFailed(f"The folder holds more than {MOST_FILES:,} files. Watch parts of it.")
            stamps[f"{self._root.name}/{path}"] = f"{found.st_size}:{found.st_mtime_ns}"
        notes = []
        if self._links:
            notes.append(f"Left out: {self._links:,} links that lead out of the folder, or to other folders.")
        if self._unreadable:
            notes.append(f"Folders that cannot be read, such as {self._unreadable[0]}: {len(self._unreadable):,}.")
        return Listing(stamps=stamps, complete=not self._unreadable, notes=tuple(notes))

    def bring(self, source: str) -> Incoming:
        """Return a file of the listing. Raises ItemFailed."""
        path = self._root / source.removeprefix(f"{self._root.name}/")
        try:
            real = path.resolve(strict=True)
            if not real.is_relative_to(self._root):
                raise ItemFailed("it is a link that leads out of the folder")
            if real.stat().st_size > LARGEST:
                raise ItemFailed(f"it has more than {LARGEST // 1024 // 1024} MB; split it into smaller files")
            data = real.read_bytes()
        except FileNotFoundError as error:
            raise ItemFailed("it went away meanwhile", gone=True) from error
        except OSError as error:
            raise ItemFailed(f"it cannot be read: {error.strerror}") from error
        return Incoming(source=source, name=path.name, data=data)

    def stop(self) -> None:
        """End a listing that nobody waits for any more."""
        self._stopped = True

    def _files(self, folder: Path) -> Iterator[tuple[str, os.stat_result]]:
        """Yield files below a folder with their paths in the source, hidden ones apart."""
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError:
            self._unreadable.append(folder.name)
            return
        for entry in entries:
            if self._stopped:
                return
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from self._files(Path(entry.path))
            elif found := self._file(entry):
                path = Path(entry.path).relative_to(self._root).as_posix()
                if self._pattern.matches(path):
                    yield path, found

    def _file(self, entry: "os.DirEntry[str]") -> os.stat_result | None:
        """Return what is known of a file that may be read, None of anything else."""
        try:
            if entry.is_symlink():
                real = Path(entry.path).resolve(strict=True)
                if not (real.is_file() and real.is_relative_to(self._root)):
                    self._links += 1
                    return None
            if not entry.is_file() or not may_hold_text(entry.name) or not _is_text(entry.name):
                return None
            return entry.stat()
        except OSError:  # it went away, or leads nowhere
            return None


def _is_text(name: str) -> bool:
    """Tell whether a name can be stored: file systems allow bytes that are no text."""
    return name.isprintable() and name.encode("utf-8", "replace").decode() == name
