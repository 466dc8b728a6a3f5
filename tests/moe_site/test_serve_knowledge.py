"""Ingestion in a running installation, with its worker and its database killed in the middle of it."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from functools import partial

import psutil
import psycopg
import pytest

from moe_site.embedded.postgres import EmbeddedPostgres
from moe_site.serve import Supervisor
from tests.conftest import new_data_dir
from tests.serving import ROOT, Served

pytestmark = pytest.mark.served

WORKER = "moe_site.ingestion"
DOCUMENTS = 24
PARAGRAPHS = 8
MORE = 8
"""Vectors stored between two kills."""
SUBJECTS = ("harbour", "railway", "orchard", "library", "glacier", "workshop", "theatre", "lighthouse")


@pytest.fixture(scope="module")
def running():
    running = Served(new_data_dir(), environment={"INGESTION_CONCURRENCY": "4"}).start()
    yield running
    running.stop()


@pytest.fixture
def texts(tmp_path, request):
    """A folder of documents that are all different, and one that cannot be read."""
    slow = request.node.get_closest_marker("slow") is not None
    for number in range(DOCUMENTS):
        subject = SUBJECTS[number % len(SUBJECTS)]
        paragraphs = (
            f"Section {part} of volume {number} describes the {subject} in the year {1800 + 7 * number + part}. "
            + f"Visitors came to see the {subject} from far away, and number {part * number} of them stayed. " * 4
            for part in range(PARAGRAPHS * (20 if slow else 1))
        )
        # Of a title of its own in each test, or the vectors of an earlier one's texts would be taken.
        text = "\n\n".join((f"# The {subject}, volume {number}, {request.node.name}", *paragraphs))
        (tmp_path / f"{number:02}.md").write_text(text)
    (tmp_path / "broken.pdf").write_bytes(b"%PDF-1.7 and then nothing")
    return tmp_path


@pytest.fixture
def handbook(running, request):
    return Shelf(running, request.node.name[:60])


class Shelf:
    """A collection of the installation that a test has for itself."""

    def __init__(self, running, slug):
        self.running = running
        self.slug = slug

    def command(self, texts, *more):
        return ["ingest", self.slug, str(texts), "--language", "en", *more]

    def query(self, statement):
        """Ask the installation's database, as soon as it is there again; %s is the collection."""
        host = str(EmbeddedPostgres(self.running.data_dir).socket_dir)
        deadline = time.monotonic() + 30
        while True:
            try:
                with psycopg.connect(host=host, user="postgres", dbname="moe", autocommit=True) as connection:
                    one = "(SELECT id FROM knowledge_collection WHERE slug = %(slug)s)"
                    return connection.execute(statement.replace("%s", one), {"slug": self.slug}).fetchall()
            except psycopg.OperationalError:
                assert time.monotonic() < deadline
                time.sleep(0.1)

    def states(self):
        jobs = "SELECT state, count(*) FROM knowledge_ingestionjob WHERE collection_id = %s GROUP BY state"
        return Counter(dict(self.query(jobs)))

    def vectors(self):
        return self.query("SELECT count(*) FROM knowledge_embedding WHERE collection_id = %s")[0][0]

    def unfinished(self):
        found = self.states()
        return found["queued"] + found["running"]

    def has(self, vectors):
        return self.vectors() >= vectors or (self.states() and not self.unfinished())

    def wait_for_more(self):
        until(partial(self.has, self.vectors() + MORE), 60)

    def wait_until_done(self):
        assert until(lambda: not self.unfinished(), 180), (self.states(), self.running.output()[-5000:])

    def check(self):
        """Every document is complete or clearly failed, none is there twice, and nothing is left over."""
        assert "is consistent" in self.running.call("check_knowledge")
        *read, broken = self.query(
            "SELECT source, status, revision, error FROM knowledge_document WHERE collection_id = %s ORDER BY source"
        )
        assert len(read) == DOCUMENTS
        assert all((status, revision, error) == ("ready", 1, "") for _, status, revision, error in read), read
        assert broken[1:3] == ("failed", 0)
        assert "cannot be read" in broken[3]
        counts = self.query(
            "SELECT document_id, count(*), count(DISTINCT ordinal), count(DISTINCT text), min(state), max(state) "
            "FROM knowledge_chunk WHERE collection_id = %s GROUP BY document_id"
        )
        assert len(counts) == DOCUMENTS
        for _, chunks, places, different, *found in counts:
            assert chunks == places == different >= PARAGRAPHS // 3
            assert found == ["live", "live"]
        assert until(lambda: not self.queued(), 10)

    def queued(self):
        return self.query("SELECT id FROM procrastinate_jobs WHERE status IN ('todo', 'doing')")

    def kill_worker(self):
        if found := worker(self.running):
            found.kill()

    def kill_database(self):
        postmaster = (self.running.data_dir / "postgres/cluster/postmaster.pid").read_text().split()[0]
        os.kill(int(postmaster), signal.SIGKILL)


def worker(running):
    for process in running.processes():
        try:
            if WORKER in " ".join(process.cmdline()):
                return process
        except psutil.NoSuchProcess:
            continue
    return None


def until(condition, seconds):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def test_ingestion_goes_on_when_worker_and_database_are_killed(running, handbook, texts):
    running.call(*handbook.command(texts, "--background"))
    for kill in (handbook.kill_worker, handbook.kill_database, handbook.kill_worker):
        handbook.wait_for_more()
        kill()
    handbook.wait_until_done()
    handbook.check()


@pytest.mark.slow
def test_ingestion_outlives_ten_kills_of_each(running, handbook, texts):
    running.call(*handbook.command(texts, "--background"))
    for _ in range(10):
        for kill in (handbook.kill_worker, handbook.kill_database):
            handbook.wait_for_more()
            assert handbook.unfinished(), "nothing was left to be broken off"
            kill()
    handbook.wait_until_done()
    handbook.check()


def test_a_command_that_is_killed_leaves_its_documents_to_the_worker(running, handbook, texts):
    command = [sys.executable, "manage.py", *handbook.command(texts)]
    process = subprocess.Popen(command, cwd=ROOT, env=running.environment, stdout=subprocess.DEVNULL)
    assert until(lambda: handbook.states()["running"], 60)
    process.kill()
    process.wait()
    left = handbook.unfinished()
    handbook.wait_until_done()
    assert left <= 4
    assert "is consistent" in running.call("check_knowledge")


def test_it_ends_with_the_supervisor_and_goes_on_with_the_next(running, handbook, texts):
    running.call(*handbook.command(texts, "--background"))
    handbook.wait_for_more()
    found = worker(running)
    running.kill()
    assert until(lambda: not found.is_running() or found.status() == psutil.STATUS_ZOMBIE, 15)
    running.start()
    handbook.wait_for_more()
    began = time.monotonic()
    assert running.stop() == 0
    assert time.monotonic() - began < 12
    assert "does not stop" not in running.output()
    running.start()
    handbook.wait_until_done()
    handbook.check()


def test_a_machine_may_leave_ingestion_to_others(settings):
    settings.INGESTION_CONCURRENCY = 0
    supervisor = Supervisor(host="127.0.0.1", port=0, workers=1, write=print)
    supervisor._start_ingestion()
    assert supervisor.ingestion is None
