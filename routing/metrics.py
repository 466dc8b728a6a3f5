"""Figures of the pool for Prometheus, and the registry that every room puts its figures into.

With PROMETHEUS_MULTIPROC_DIR set, as the supervisor does for its children, each process keeps its figures in files of
that folder, and whoever is asked adds up those of all (gateway/metrics.py).
"""

import hashlib
import os
import shutil
import stat
from pathlib import Path

from django.conf import settings
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.multiprocess import mark_process_dead

FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
UNSHARED = ("env", "-u", FOLDER_VARIABLE)
"""What begins a command that serves nobody, and whose figures would be left over in the sums."""
MEMORY = Path("/dev/shm")  # noqa: S108 - folder_of looks at whose folder it is
MEMORY_BYTES = 32 * 1024 * 1024
"""What must be free there; a process needs less than one megabyte."""
REGISTRY = CollectorRegistry()
LANE = ("server", "model")

queue_wait = Histogram(
    "moe_queue_wait_seconds",
    "Seconds a request stood in the queue before a model was free",
    registry=REGISTRY,
    buckets=(0.01, 0.05, 0.1, 0.5, 1, 2, 5, 10, 30, 60, 120),
)
load_seconds = Histogram(
    "moe_model_load_seconds",
    "Seconds that a model took to be loaded because a request wanted it",
    LANE,
    registry=REGISTRY,
    buckets=(0.5, 1, 2.5, 5, 10, 20, 40, 60, 120, 300, 600),
)
attempts_failed = Counter(
    "moe_attempts_failed",
    "Times that a model on a server was asked and failed, whatever became of the request",
    (*LANE, "code"),
    registry=REGISTRY,
)
retries = Counter("moe_retries", "Times that the same model on a server was asked again", LANE, registry=REGISTRY)

lane_in_flight = Gauge(
    "moe_lane_in_flight",
    "Requests a model is answering",
    LANE,
    registry=REGISTRY,
    multiprocess_mode="livesum",
)
lane_waiting = Gauge(
    "moe_lane_waiting",
    "Requests that wait for a model",
    LANE,
    registry=REGISTRY,
    multiprocess_mode="livesum",
)
lane_first_token = Gauge(
    "moe_lane_first_token_seconds",
    "Moving average of the time to the first token; of several processes the longest",
    LANE,
    registry=REGISTRY,
    multiprocess_mode="livemax",
)
lane_speed = Gauge(
    "moe_lane_tokens_per_second",
    "Moving average of one request's speed; of several processes the highest",
    LANE,
    registry=REGISTRY,
    multiprocess_mode="livemax",
)
lane_breaker = Gauge(
    "moe_lane_breaker",
    "Processes whose breaker for a model on a server is in this state",
    (*LANE, "state"),
    registry=REGISTRY,
    multiprocess_mode="livesum",
)


# --- figures of several processes -------------------------------------------------------------------------------


def shared_folder() -> Path | None:
    """Return where this process and others keep their figures, or None: it is alone."""
    return Path(settings.PROMETHEUS_MULTIPROC_DIR) if settings.PROMETHEUS_MULTIPROC_DIR else None


def folder_of(data_dir: Path, *, memory: Path = MEMORY) -> Path:
    """Return where the processes of the installation in ``data_dir`` keep their figures: in memory where there is room.

    Files of figures are written like memory, so that a disk that is full would end whoever counts (SIGBUS).
    """
    name = hashlib.sha256(bytes(data_dir.resolve())).hexdigest()[:16]
    folder = memory / f"moe-figures-{name}"
    try:
        has_room = shutil.disk_usage(memory).free >= MEMORY_BYTES
    except OSError:
        has_room = False
    return folder if has_room and folder_make(folder) else data_dir / "figures"


def folder_make(folder: Path) -> bool:
    """Make ``folder`` where it is missing, and tell whether it is there and ours.

    In memory everybody may write beside it: somebody else's folder, or a link to one, is not ours to write to.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()


def folder_empty(folder: Path) -> None:
    """Make ``folder``, without the figures of those who ran before."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path in folder.glob("*.db"):
        path.unlink(missing_ok=True)


def process_forget(folder: Path, pid: int) -> None:
    """Take what an ended process was doing out of the sums; what it had counted stays in them."""
    mark_process_dead(pid, str(folder))
