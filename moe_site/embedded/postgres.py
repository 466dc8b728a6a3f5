"""A real PostgreSQL with pgvector from a wheel, shared by every process of an installation.

The wheel's own launcher records the processes that use a server by number, so a killed one keeps it
alive for ever; it also opens the permissions of every folder above the data. Here each process holds
a lock on a file instead (the kernel lets go of it whatever way the process ends), nothing above the
data directory is touched, and the last process to leave stops the server.
"""

import atexit
import contextlib
import fcntl
import functools
import hashlib
import logging
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg

from moe_site.embedded.account import ACCOUNT, Account, server_account
from moe_site.embedded.exceptions import EmbeddedPostgresError
from moe_site.embedded.programs import Programs

logger = logging.getLogger(__name__)

SUPERUSER = "postgres"
SOCKET_PATH_LIMIT = 100  # sockaddr_un holds 108 bytes
START_SECONDS = 300  # recovery after a crash may take long; pg_ctl returns as soon as it is done
STOP_SECONDS = 30
FULL = ("too many clients", "connection slots are reserved")
"""What a server says that is well, and whose connections are all taken."""


class EmbeddedPostgres:
    """One cluster under ``data_dir/postgres``; ``acquire`` joins or starts its server, ``release`` leaves it."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.root = data_dir / "postgres"
        self.cluster = self.root / "cluster"
        self.log_file = self.root / "server.log"
        self._lease: int | None = None
        self._owner_pid = 0
        self._thread_lock = threading.RLock()

    # --- what callers use ------------------------------------------------------------------------

    def acquire(self) -> None:
        """Make sure the server runs and hold it for this process; cheap when already held."""
        if self._lease is not None and self._owner_pid == os.getpid():
            return
        with self._thread_lock:
            if self._lease is not None and self._owner_pid == os.getpid():
                return
            self._prepare_directories()
            with self._exclusively():
                self._ensure_running()
                lease = os.open(self.root / "users.lock", os.O_RDWR | os.O_CREAT, 0o600)
                fcntl.flock(lease, fcntl.LOCK_SH)
                self._lease, self._owner_pid = lease, os.getpid()
            atexit.register(self.release)

    def alive(self) -> bool:
        """Tell whether the server's process is there; cheap enough to ask several times a second."""
        return self._postmaster_lives()

    def ensure_running(self) -> None:
        """Start the server again if it went away while this process holds it."""
        self.acquire()
        with self._thread_lock, self._exclusively():
            self._ensure_running()

    def release(self) -> None:
        """Let go of the server, and stop it if nobody else holds it."""
        with self._thread_lock:
            if self._lease is None or self._owner_pid != os.getpid():
                return
            atexit.unregister(self.release)
            with self._exclusively():
                try:
                    fcntl.flock(self._lease, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    pass  # another process still uses it
                else:
                    self._stop()
                finally:
                    os.close(self._lease)
                    self._lease = None

    @property
    def socket_dir(self) -> Path:
        """Where the server's unix socket lies; only its account and root may enter."""
        usual = self.root / "socket"
        if len(str(usual / ".s.PGSQL.5432")) <= SOCKET_PATH_LIMIT:
            return usual
        digest = hashlib.sha256(str(self.root).encode()).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"moe-pg-{digest}"

    # --- starting and stopping -------------------------------------------------------------------

    @contextlib.contextmanager
    def _exclusively(self) -> Iterator[None]:
        """Hold the lock under which the server is started and stopped."""
        descriptor = os.open(self.root / "start.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _ensure_running(self) -> None:
        if self._answers():
            return
        if not (self.cluster / "PG_VERSION").exists():
            self._init_cluster()
        self._forget_dead_postmaster()
        self._start()
        self._create_database("moe")

    def _answers(self) -> bool:
        try:
            self._connect().close()
        except psycopg.OperationalError as error:
            if "starting up" in str(error) or "recovery" in str(error):
                return self._wait_until_answering()
            return any(full in str(error) for full in FULL)
        return True

    def _wait_until_answering(self) -> bool:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            with contextlib.suppress(psycopg.OperationalError):
                self._connect().close()
                return True
            time.sleep(0.1)
        return False

    def _connect(self, dbname: str = "postgres") -> psycopg.Connection:
        return psycopg.connect(
            host=str(self.socket_dir), user=SUPERUSER, dbname=dbname, autocommit=True, connect_timeout=10
        )

    def _init_cluster(self) -> None:
        # initdb works beside the final place and is moved there when done: a killed initdb leaves no half cluster.
        draft = self.root / "cluster.new"
        shutil.rmtree(draft, ignore_errors=True)
        self._make_private(draft)
        self._programs.run(
            "initdb",
            f"--username={SUPERUSER}",
            "--auth-local=trust",  # the socket's folder is what keeps others out
            "--auth-host=reject",
            "--encoding=UTF8",
            "--locale-provider=builtin",  # the same sort order on every machine
            "--builtin-locale=C.UTF-8",
            "--locale=C",
            f"--pgdata={draft}",
        )
        draft.rename(self.cluster)

    def _forget_dead_postmaster(self) -> None:
        """Remove the lock files of a killed server, even when its number now belongs to another program."""
        pid_file = self.cluster / "postmaster.pid"
        if not pid_file.exists():
            return
        deadline = time.monotonic() + 10
        while self._postmaster_lives() and time.monotonic() < deadline:
            time.sleep(0.1)  # it was just killed, or is shutting down on its own
        if self._postmaster_lives():
            pid = pid_file.read_text().split("\n", 1)[0]
            raise EmbeddedPostgresError(
                f"The embedded PostgreSQL (process {pid}) runs, but does not answer. If somebody stopped it, have it "
                f"go on with 'kill -CONT {pid}'; if it stays like this, end it with 'kill -KILL {pid}': it recovers."
            )
        logger.warning("the embedded PostgreSQL was not stopped cleanly; it recovers now")
        pid_file.unlink(missing_ok=True)
        (self.socket_dir / ".s.PGSQL.5432.lock").unlink(missing_ok=True)

    def _postmaster_lives(self) -> bool:
        try:
            pid = int((self.cluster / "postmaster.pid").read_text().split("\n", 1)[0])
            process = psutil.Process(pid)
            # In a container without an init process, a killed server stays listed as a zombie.
            return bool(process.name().startswith("postgres") and process.status() != psutil.STATUS_ZOMBIE)
        except (FileNotFoundError, ValueError, psutil.NoSuchProcess):
            return False

    def _start(self) -> None:
        # What fails is not repeated in the log with all that was to be stored, which is nobody's to read there.
        options = (
            f"-c listen_addresses='' -c unix_socket_directories='{self.socket_dir}' -c log_min_error_statement=panic"
        )
        command = (
            "-w",
            "-t",
            str(START_SECONDS),
            "-D",
            str(self.cluster),
            "-l",
            str(self.log_file),
            "-o",
            options,
        )
        for attempt in range(5):
            try:
                self._programs.run("pg_ctl", *command, "start")
            except EmbeddedPostgresError:
                # The children of a killed server take a moment to notice and let go of shared memory.
                if attempt == 4 or "pre-existing shared memory" not in self._programs.log_tail():
                    raise
                time.sleep(0.5)
            else:
                return

    def _stop(self) -> None:
        if not self._postmaster_lives():
            return
        # PostgreSQL never comes to the end of a stop that it is asked for as it recovers from a crash. At once loses
        # nothing: the next start recovers.
        for how in ("fast", "immediate"):
            try:
                self._programs.run("pg_ctl", "-w", "-t", str(STOP_SECONDS), "-m", how, "-D", str(self.cluster), "stop")
            except EmbeddedPostgresError as error:
                logger.error("the embedded PostgreSQL did not stop how=%s error=%s", how, error)
            else:
                return

    def _create_database(self, name: str) -> None:
        try:
            with self._connect() as connection:
                found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone()
                if not found:
                    connection.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(psycopg.sql.Identifier(name)))
        except psycopg.Error as error:  # it may have gone away once more
            raise EmbeddedPostgresError(
                f"The embedded PostgreSQL started, but lets nobody in: {error}\n{self.log_file} says more."
            ) from error

    # --- files, and whose they are ---------------------------------------------------------------

    def _prepare_directories(self) -> None:
        self.root.mkdir(mode=0o711, parents=True, exist_ok=True)
        if self._account is not None:
            self._open_own_directories()
            self._refuse_unreachable(self._account)
        self._make_private(self.socket_dir)
        if not self.log_file.exists():
            self.log_file.touch(mode=0o600)
        if self._account is not None:
            os.chown(self.log_file, self._account.uid, self._account.gid)

    def _open_own_directories(self) -> None:
        """Let others pass through (not list) the two folders that are ours."""
        for folder in (self.data_dir, self.root):
            mode = folder.stat().st_mode & 0o7777
            if folder.stat().st_uid == os.getuid() and not mode & 0o001:
                folder.chmod(mode | 0o001)

    def _refuse_unreachable(self, account: Account) -> None:
        if blocker := account.blocker(self.root):
            raise EmbeddedPostgresError(
                f"The embedded PostgreSQL cannot use the data directory {self.data_dir}: running as root, it drops "
                f"to the account '{ACCOUNT}', which may not pass through {blocker}. Set MOE_DATA_DIR to a folder "
                f"every account can reach (for example MOE_DATA_DIR=/var/lib/moe), or allow passing through with: "
                f"chmod o+x {blocker}"
            )

    def _make_private(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.is_symlink():
            raise EmbeddedPostgresError(f"{folder} is a link; remove it and start again.")
        if self._account is not None:
            os.chown(folder, self._account.uid, self._account.gid)
        elif folder.stat().st_uid != os.getuid():
            raise EmbeddedPostgresError(
                f"{folder} belongs to another user. Remove it, or set MOE_DATA_DIR to a folder of your own."
            )
        folder.chmod(0o700)

    @functools.cached_property
    def _account(self) -> Account | None:
        return server_account() if os.geteuid() == 0 else None

    @functools.cached_property
    def _programs(self) -> Programs:
        return Programs(self.root, self._account, log_file=self.log_file)


@functools.cache
def embedded_postgres(data_dir: Path) -> EmbeddedPostgres:
    """Return this process's handle on the cluster under ``data_dir``."""
    return EmbeddedPostgres(data_dir)
