"""This machine: disk, memory, open files, and the port that is served on."""

import http.client
import resource
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

from django.conf import settings

from moe_site.doctor.finding import Finding, error, ok, warning

GB = 1024**3
DISK_WARNING, DISK_ERROR = 5 * GB, 1 * GB
MEMORY_WARNING, MEMORY_ERROR = 1 * GB, 256 * 1024**2
OPEN_FILES = 4_096
"""A connection of a client and one to a model server for each running answer."""
CONNECT_SECONDS = 3.0


def disk() -> Iterator[Finding]:
    """Look at the free space of the data directory, which holds the embedded database too."""
    folder = _existing(settings.MOE_DATA_DIR)
    free = shutil.disk_usage(folder).free
    said = f"{free / GB:.1f} GB are free where {settings.MOE_DATA_DIR} is."
    advice = "Make room there, or move the data directory (MOE_DATA_DIR); PostgreSQL stops when a disk is full."
    if free < DISK_ERROR:
        yield error("disk", said, advice)
    elif free < DISK_WARNING:
        yield warning("disk", said, advice)
    else:
        yield ok("disk", said)


def _existing(folder: Path) -> Path:
    while not folder.exists():
        folder = folder.parent
    return folder


def memory() -> Iterator[Finding]:
    """Look at what memory is free, and how many files may be open."""
    import psutil

    free = psutil.virtual_memory().available
    said = f"{free / GB:.1f} GB of memory are free."
    if free < MEMORY_ERROR:
        yield error("memory", said, "Stop something else, or unload models (manage.py models unload).")
    elif free < MEMORY_WARNING:
        yield warning("memory", said, "Reading documents and embedding take up to 1 GB; the system may stop processes.")
    else:
        yield ok("memory", said)
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= files < OPEN_FILES:
        yield warning(
            "open files",
            f"A process may open {files} files; each running answer needs two.",
            f"Raise the limit: ulimit -n {OPEN_FILES}, or LimitNOFILE={OPEN_FILES} in the unit of systemd.",
        )


def port(number: int) -> Iterator[Finding]:
    """See whether the endpoint answers on this machine's ``number``, or whether that port is free for it."""
    about = f"port {number}"
    try:
        status, kind = _asked(number)
    except ConnectionRefusedError:
        yield ok(about, "Nothing listens there: 'manage.py serve' could. (--port looks at another one.)")
    except TimeoutError:
        yield error(
            about,
            f"Something listens there and does not answer within {CONNECT_SECONDS:g} s.",
            "If it is this endpoint, its log says why its workers do not start; or choose another port: "
            "manage.py serve --port N",
        )
    except (OSError, http.client.HTTPException):
        yield _taken(about)
    else:
        if kind != "application/json" or status not in (200, 503):
            yield _taken(about)
        elif status == 503:
            yield error(about, "The endpoint runs and says that it cannot answer.", "GET /health/ready says why.")
        else:
            yield ok(about, "The endpoint runs and is ready.")


def _asked(number: int) -> tuple[int, str]:
    asking = http.client.HTTPConnection("127.0.0.1", number, timeout=CONNECT_SECONDS)
    try:
        asking.request("GET", "/health/ready", headers={"Host": settings.ALLOWED_HOSTS[0].lstrip("*.") or "localhost"})
        answer = asking.getresponse()
        return answer.status, answer.headers.get_content_type()
    finally:
        asking.close()


def _taken(about: str) -> Finding:
    name = socket.gethostname()
    return warning(
        about,
        f"Something else than this endpoint listens there on {name}.",
        "Choose another one: manage.py serve --port N",
    )
