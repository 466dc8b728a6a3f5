"""The generated SECRET_KEY of an installation."""

import contextlib
import errno
import os
import secrets
from pathlib import Path


def read_or_create_secret_key(data_dir: Path) -> str:
    """Return the installation's key from ``data_dir/secret_key`` (mode 0600), made on first use.

    Losing it ends every session and makes the stored model-server keys unreadable, so it is kept
    rather than made anew at each start. Raises OSError.
    """
    path = data_dir / "secret_key"
    with contextlib.suppress(FileNotFoundError):
        if key := path.read_text().strip():
            return key
    # Others may pass through the directory (the embedded PostgreSQL drops to a user of its own) but not list it.
    data_dir.mkdir(mode=0o711, parents=True, exist_ok=True)
    key = secrets.token_urlsafe(50)
    draft = data_dir / f".secret_key.{secrets.token_hex(8)}"
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(key)
            file.flush()
            os.fsync(file.fileno())  # or a loss of power may leave an empty one
        # link() fails if another process was first: its key is then the one that counts.
        os.link(draft, path)
    except FileExistsError:
        key = path.read_text().strip()
    finally:
        draft.unlink(missing_ok=True)
    if not key:
        raise OSError(errno.ENODATA, "The file is empty; put its earlier text back, or remove it", str(path))
    return key
