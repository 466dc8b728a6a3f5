"""The supervisor behind `manage.py serve`: brings everything up, keeps it up, and takes it down in order."""

import contextlib
import errno
import fcntl
import ipaddress
import logging
import os
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from django.conf import settings
from django.core.checks import run_checks
from django.core.management import CommandError, call_command
from django.db import Error, connection, connections

from gateway.health import LEAST_FREE
from moe_site import banner, first_start, logs
from moe_site.checks import database
from moe_site.checks.exposure import start_warnings
from moe_site.child import Child
from moe_site.embedded import llama
from moe_site.embedded.exceptions import EmbeddedPostgresError
from moe_site.embedded.postgres import EmbeddedPostgres, embedded_postgres
from moe_site.listening import answers, listen, url_of
from moe_site.pauses import Pauses
from routing.metrics import folder_empty, folder_of
from routing.outages import is_full, is_outage

logger = logging.getLogger(__name__)

START_SECONDS = 60.0
STOP_SECONDS = 10.0
MIGRATION_LOCK = 0x4D4F45  # any number all our processes agree on


class StopRequested(Exception):
    """SIGTERM or SIGINT came before the start was complete."""


class Supervisor:
    def __init__(self, *, host: str, port: int, workers: int, write: Callable[[str], object]) -> None:
        self.host, self.port, self.worker_count = host, port, workers
        self.write = write
        self.stop_requested = threading.Event()
        self.model: Child | None = None
        self.workers: list[Child] = []
        self.ingestion: Child | None = None
        self.postgres: EmbeddedPostgres | None = None
        self._database_pauses = Pauses()
        self.figures: Path = folder_of(settings.MOE_DATA_DIR)

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT; raises CommandError when the start fails."""
        refuse_open_door(self.host)
        for warning in start_warnings(host=self.host, workers=self.worker_count):
            logger.warning("%s (%s) %s", warning.msg, warning.id, warning.hint)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.stop_requested.set())
        with only_one(settings.MOE_DATA_DIR / "serve.lock"), listen(self.host, self.port) as listening:
            logs.catch_strays()
            try:
                with told_in_words():
                    folder_empty(self.figures)
                    self._bring_up(listening)
                while not self.stop_requested.wait(0.2):
                    self._look_after()
            except StopRequested:
                logger.info("stopped before the start was complete")
            finally:
                self._take_down()
                shutil.rmtree(self.figures, ignore_errors=True)

    # --- up --------------------------------------------------------------------------------------

    def _bring_up(self, listening: socket.socket) -> None:
        began = time.monotonic()
        self._prepare_database()
        self._go_on()
        model = self._start_model(own_servers_answer=first_start.configured_servers_answer())
        first_start.embedded_server_record(model)
        servers = first_start.shelf_fill()
        self._go_on()
        found = first_start.secrets_create()
        try:
            self._start_workers(listening)
        except BaseException:
            first_start.secrets_forget(found)  # nobody was shown them
            raise
        self._start_ingestion()
        self.write(
            banner.text(
                url=url_of(listening.getsockname()),
                secrets=found,
                servers=servers,
                embedded_model=llama.MODEL if model else None,
                embedded_database=self.postgres is not None,
                data_dir=settings.MOE_DATA_DIR,
                seconds=time.monotonic() - began,
            )
        )

    def _go_on(self) -> None:
        if self.stop_requested.is_set():
            raise StopRequested

    def _start_workers(self, listening: socket.socket) -> None:
        connections.close_all()
        for number in range(self.worker_count):
            command = [sys.executable, "-m", "moe_site.worker", f"--socket={listening.fileno()}"]
            worker = Child(f"worker {number + 1}", command, pass_fds=(listening.fileno(),), figures=self.figures)
            worker.start()
            self.workers.append(worker)
        self._wait_until(lambda: answers(listening.getsockname(), "/health/live"), what="the web server")

    def _start_ingestion(self) -> None:
        if settings.INGESTION_CONCURRENCY > 0:
            command = [sys.executable, "-m", "moe_site.ingestion"]
            self.ingestion = Child("ingestion", command, figures=self.figures)
            self.ingestion.start()

    def _prepare_database(self) -> None:
        if not settings.DATABASE_URL:
            self.postgres = embedded_postgres(settings.MOE_DATA_DIR)
            try:
                self.postgres.acquire()
            except EmbeddedPostgresError as error:
                raise CommandError(f"{error}{_advice(error)}") from error
        if errors := run_checks(tags=[database.SERVER], databases=["default"]):
            raise CommandError("\n".join(f"{error.msg} ({error.id})\n  {error.hint}" for error in errors))
        with connection.cursor() as cursor:
            # Several machines may start on one database: one of them migrates, the others wait for it.
            cursor.execute("SELECT pg_advisory_lock(%s)", [MIGRATION_LOCK])
            try:
                call_command("migrate", interactive=False, verbosity=0)
            finally:
                cursor.execute("SELECT pg_advisory_unlock(%s)", [MIGRATION_LOCK])

    def _start_model(self, *, own_servers_answer: bool) -> llama.EmbeddedModel | None:
        mode = settings.EMBEDDED_MODELS
        if mode == "off" or (mode == "auto" and own_servers_answer):
            return None
        try:
            model = llama.embedded_model()
        except llama.EmbeddedModelMissing as error:
            if mode == "on":
                raise CommandError(str(error)) from error
            logger.warning("%s", error)
            return None
        self.model = Child(
            "embedded model",
            [*model.command()],
            log=settings.MOE_DATA_DIR / "embedded-model.log",
        )
        self.model.start()
        self._wait_until(lambda: answers(("127.0.0.1", model.port), "/health"), what="the embedded model")
        return model

    def _wait_until(self, condition: Callable[[], bool], *, what: str) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not condition():
            if self.stop_requested.wait(0.05):
                raise StopRequested
            if time.monotonic() > deadline:
                raise CommandError(
                    f"{what} did not start within {START_SECONDS:.0f} s; the log above and "
                    f"{settings.MOE_DATA_DIR}/embedded-model.log say more."
                )
            self._look_after()

    # --- while it runs ---------------------------------------------------------------------------

    def _look_after(self) -> None:
        for child in self._children():
            child.keep_running()
        if self.postgres and not self.postgres.alive() and self._database_pauses.are_over:
            self._revive(self.postgres)

    def _revive(self, postgres: EmbeddedPostgres) -> None:
        """Start the database again, and after failures with growing pauses."""
        try:
            postgres.ensure_running()
        except (EmbeddedPostgresError, OSError) as error:
            logger.error("%s", error)
            self._database_pauses.failed()
        else:
            self._database_pauses.forget()

    def _children(self) -> list[Child]:
        return [child for child in (*self.workers, self.ingestion, self.model) if child]

    # --- down ------------------------------------------------------------------------------------

    def _take_down(self) -> None:
        """Stop what asks before what it asks: workers and ingestion, then the model, then the database."""
        asking = [*self.workers, *([self.ingestion] if self.ingestion else [])]
        for group in (asking, [self.model] if self.model else []):
            deadline = time.monotonic() + STOP_SECONDS
            for child in group:
                child.ask_to_stop()
            for child in group:
                child.wait_stopped(deadline)
        connections.close_all()
        for wrapper in connections.all(initialized_only=True):
            # Asking a wrapper for its pool would make one, and start the database for it.
            if wrapper.alias in getattr(wrapper, "_connection_pools", ()):
                wrapper.close_pool()  # type: ignore[attr-defined]
        if self.postgres:
            self.postgres.release()


def refuse_open_door(host: str) -> None:
    """Raise CommandError when anonymous clients would be let in from other machines."""
    if settings.REQUIRE_API_KEY:
        return
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = host == "localhost"
    if not loopback:
        raise CommandError(
            f"REQUIRE_API_KEY is false, and --host {host} would let anybody on the network in. "
            "Set REQUIRE_API_KEY=true, or listen on 127.0.0.1."
        )


@contextlib.contextmanager
def told_in_words() -> Iterator[None]:
    """Raise CommandError for what the disk and the database do to a start: nobody can do anything with a traceback."""
    try:
        yield
    except (Error, OSError) as error:
        if isinstance(error, Error) and not is_outage(error):
            raise  # a slip of ours
        raise CommandError(f"The start failed: {error}{_advice(error)}") from error


def _advice(error: Exception) -> str:
    # A database that ran out of room may be away by now, and its error says no more than that.
    short = shutil.disk_usage(settings.MOE_DATA_DIR).free < LEAST_FREE if settings.MOE_DATA_DIR.exists() else False
    if short or is_full(error) or os.strerror(errno.ENOSPC) in str(error):
        return f"\nMake room on the disk of {settings.MOE_DATA_DIR}, and start again."
    if isinstance(error, OSError):
        return f"\nSee that the account that runs this may read and write {settings.MOE_DATA_DIR}."
    return ""


@contextlib.contextmanager
def only_one(path: Path) -> Iterator[None]:
    """Hold ``path``'s lock; raises CommandError when another supervisor has the same data directory."""
    with told_in_words():
        path.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise CommandError(
            f"Another 'serve' already runs on {path.parent}. Stop it, or give this one its own MOE_DATA_DIR."
        ) from None
    try:
        yield
    finally:
        os.close(descriptor)
