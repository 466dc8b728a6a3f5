"""`manage.py ingest`: files, folders and pages read where the command runs."""

import asyncio
import os
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from procrastinate.contrib.django.models import ProcrastinateJob

from knowledge.exceptions import EmbeddingFailed
from knowledge.files import NothingThere, find
from knowledge.foreground import Errand, Foreground, Listener, Outcome
from knowledge.management.display import IngestionDisplay, bar
from knowledge.models import Chunk, Collection, Document, IngestionJob, Stage
from knowledge.threads import in_thread
from tests.knowledge.library import Bench, shelf
from tests.knowledge.test_worker import LONG, receive, states, working
from tests.knowledge.website import website


def write(folder, **texts):
    for name, text in texts.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".md").write_text(text)


def ingest(*arguments, fails=False):
    out = StringIO()
    if fails:
        with pytest.raises(CommandError) as caught:
            call_command("ingest", *map(str, arguments), stdout=out, stderr=StringIO())
        return out.getvalue(), str(caught.value)
    call_command("ingest", *map(str, arguments), stdout=out, stderr=StringIO())
    return out.getvalue()


class TestNames:
    def test_files_have_their_name_and_files_of_folders_the_folders_before_it(self, tmp_path):
        write(tmp_path, docs__b="b", docs__sub__a="a", docs__c="c", alone="x")
        found = find([str(tmp_path / "docs"), str(tmp_path / "alone.md")])
        assert [file.source for file in found.files] == ["docs/b.md", "docs/c.md", "docs/sub/a.md", "alone.md"]

    def test_what_is_hidden_or_holds_no_text_is_left_out(self, tmp_path):
        write(tmp_path, docs__a="a")
        (tmp_path / "docs/.hidden.md").write_text("x")
        (tmp_path / "docs/.git").mkdir()
        (tmp_path / "docs/.git/b.md").write_text("x")
        (tmp_path / "docs/photo.jpg").write_bytes(b"x")
        (tmp_path / "docs/drawing.svg").write_bytes(b"<svg/>")
        os.mkfifo(tmp_path / "docs/pipe.md")
        found = find([str(tmp_path / "docs")])
        assert [file.source for file in found.files] == ["docs/a.md", "docs/drawing.svg"]
        assert [path.name for path in found.skipped] == ["photo.jpg"]
        assert [file.source for file in find([str(tmp_path / "docs/photo.jpg")]).files] == ["photo.jpg"]

    def test_links_that_lead_back_end(self, tmp_path):
        write(tmp_path, docs__a="a")
        (tmp_path / "docs/loop").symlink_to(tmp_path / "docs")
        (tmp_path / "docs/broken.md").symlink_to(tmp_path / "nowhere")
        assert [file.source for file in find([str(tmp_path / "docs")]).files] == ["docs/a.md"]

    def test_a_file_named_twice_is_one(self, tmp_path):
        write(tmp_path, a="a")
        found = find([str(tmp_path / "a.md"), str(tmp_path / "a.md"), "https://a.test/", "https://a.test/"])
        assert (len(found.files), found.urls) == (1, ("https://a.test/",))

    def test_two_files_cannot_be_one_document(self, tmp_path):
        write(tmp_path, x__docs__a="1", y__docs__a="2")
        with pytest.raises(NothingThere, match="both be the document"):
            find([str(tmp_path / "x/docs"), str(tmp_path / "y/docs")])

    def test_what_is_not_there(self, tmp_path):
        with pytest.raises(NothingThere, match="no file or folder"):
            find([str(tmp_path / "nothing")])


@pytest.mark.usefixtures("knowledge")
class TestCommand:
    def test_a_folder_becomes_a_collection_and_comes_again_for_nothing(self, tmp_path):
        write(tmp_path, docs__a="# A\n\nCats purr when they are content.", docs__b="Dogs bark at strangers at night.")
        said = ingest("pets", tmp_path / "docs", "--metadata", "year=2024", "--metadata", "kind=note")
        assert "Made the collection 'pets', embedded by all-MiniLM-L6-v2" in said
        assert "2 created in" in said
        documents = Document.objects.order_by("source")
        assert [(row.source, row.title, row.status) for row in documents] == [
            ("docs/a.md", "A", "ready"),
            ("docs/b.md", "b", "ready"),
        ]
        assert documents[0].metadata == {"year": 2024, "kind": "note"}
        assert not ProcrastinateJob.objects.filter(status__in=("todo", "doing")).exists()

        write(tmp_path, docs__b="Dogs bark at everybody.")
        said = ingest("pets", tmp_path / "docs")
        assert "1 updated, 1 unchanged in" in said
        assert "2 of 2 documents" in said
        assert "2 updated" in ingest("pets", tmp_path / "docs", "--again")

    def test_what_fails_is_named_with_its_reason(self, tmp_path):
        write(tmp_path, good="Cats purr.")
        (tmp_path / "bad.pdf").write_bytes(b"%PDF-1.7 and then nothing")
        said, error = ingest("pets", tmp_path / "good.md", tmp_path / "bad.pdf", "--language", "en", fails=True)
        assert "failed: bad.pdf: The file" in said
        assert "1 created, 1 failed in" in said
        assert error == "1 of 2 could not be read."
        assert Collection.objects.get().language == "en"

    def test_a_title_is_for_one_file(self, tmp_path):
        write(tmp_path, a="Cats purr.", b="Dogs bark.")
        ingest("pets", tmp_path / "a.md", "--title", "On cats")
        assert Document.objects.get().title == "On cats"
        _, error = ingest("pets", tmp_path / "a.md", tmp_path / "b.md", "--title", "Both", fails=True)
        assert error == "--title is for a single file."

    def test_in_the_background_the_queue_has_them(self, tmp_path):
        write(tmp_path, a="Cats purr.")
        said = ingest("pets", tmp_path / "a.md", "--background", "--sitemap", "https://example.org/sitemap.xml")
        assert "in the queue" in said
        assert sorted(IngestionJob.objects.values_list("kind", "state")) == [
            ("document", "queued"),
            ("sitemap", "queued"),
        ]
        assert not ProcrastinateJob.objects.exclude(scheduled_at=None).exists()

    @pytest.mark.parametrize(
        ("arguments", "error"),
        [
            (["pets"], "nothing to read"),
            (["pets", "/nowhere/at/all"], "There is no file or folder"),
            (["two words", "--sitemap", "https://example.org/"], "cannot be called"),
            (["pets", "x", "--metadata", "year"], "not of the form KEY=VALUE"),
        ],
    )
    def test_what_makes_no_sense_is_said_before_anything_is_done(self, arguments, error):
        assert error in ingest(*arguments, fails=True)[1]
        assert not IngestionJob.objects.exists()

    async def test_a_sitemap_and_a_page(self, settings):
        async with website() as site:
            address = f"http://127.0.0.1:{site.port}"
            settings.FETCH_ALLOWED_HOSTS = ["127.0.0.1"]
            pages = "".join(f"<url><loc>{address}/{n}</loc></url>" for n in range(2))
            site.put("/map.xml", f"<urlset>{pages}</urlset>", Content_Type="application/xml")
            for n in range(2):
                site.put(f"/{n}", f"<p>This is the page with the number {n}.</p>", Content_Type="text/html")
            site.put("/alone", "<title>Alone</title><p>It stands alone.</p>", Content_Type="text/html")
            said = await in_thread(ingest)("pages", f"{address}/alone", "--sitemap", f"{address}/map.xml")
        assert "3 created in" in said
        titles = await in_thread(lambda: set(Document.objects.values_list("title", flat=True)))()
        assert "Alone" in titles


class Heard:
    """A listener that keeps what it hears."""

    def __init__(self):
        self.outcomes = []
        self.stages = []

    def listener(self):
        return Listener(progress=lambda *now: self.stages.append(now), outcome=self.outcomes.append)


@pytest.mark.usefixtures("knowledge")
class TestForeground:
    def errand(self, collection, number, data=None, **fields):
        def take_in():
            from knowledge.receiving import Incoming, document_receive

            name = f"{number}.md"
            incoming = Incoming(source=name, name=name, data=data or f"Number {number}.".encode())
            return document_receive(collection=collection, incoming=incoming, hold=15, **fields)

        return Errand(name=f"{number}.md", receive=take_in)

    async def test_errands_are_taken_in_as_there_is_room(self):
        collection = await in_thread(shelf)()
        heard, bench, taken = Heard(), Bench(), []

        def errands():
            for number in range(20):
                taken.append(number - len(heard.outcomes))
                yield self.errand(collection, number)

        await Foreground(listener=heard.listener(), concurrency=3, equipment=bench.equipment()).run(errands())
        assert sorted(outcome.result for outcome in heard.outcomes) == ["created"] * 20
        assert max(taken) <= 3
        assert {stage for _, stage, _, _ in heard.stages} >= {Stage.EMBEDDING, Stage.PUBLISHING}

    async def test_what_passes_is_tried_again_here(self, monkeypatch):
        monkeypatch.setattr("knowledge.foreground.PAUSES", (0.01, 0.01, 0.01))
        collection, heard, bench = await in_thread(shelf)(), Heard(), Bench()
        failing = iter([EmbeddingFailed("away"), EmbeddingFailed("away")])
        answer = bench.embedder.passages

        async def passages(texts):
            if error := next(failing, None):
                raise error
            return await answer(texts)

        bench.embedder.passages = passages
        await Foreground(listener=heard.listener(), equipment=bench.equipment()).run([self.errand(collection, 1)])
        assert [outcome.result for outcome in heard.outcomes] == ["created"]

    async def test_what_stays_away_is_left_to_the_worker(self, monkeypatch, tmp_path):
        monkeypatch.setattr("knowledge.foreground.PAUSES", (0.01,))
        monkeypatch.setattr("knowledge.jobs.PAUSES", (0, 1, 1))
        collection, heard, bench = await in_thread(shelf)(), Heard(), Bench()
        bench.embedder.fail = EmbeddingFailed("The server is away.")
        await Foreground(listener=heard.listener(), equipment=bench.equipment()).run([self.errand(collection, 1)])
        (outcome,) = heard.outcomes
        assert outcome.result == "failed"
        assert outcome.reason == "The server is away. The worker of 'manage.py serve' tries it again."
        bench.embedder.fail = None
        async with working(bench, tmp_path):
            await asyncio.sleep(0)
            await until_done()

    async def test_what_a_worker_reads_already_is_waited_for(self, tmp_path):
        collection, heard = await in_thread(shelf)(), Heard()
        await in_thread(receive)(collection, LONG, source="1.md")
        bench = Bench()
        bench.embedder.hold = asyncio.Event()
        async with working(bench, tmp_path):
            await asyncio.to_thread(bench.embedder.reached.wait, 20)
            foreground = Foreground(listener=heard.listener(), equipment=Bench().equipment())
            running = asyncio.create_task(foreground.run([self.errand(collection, 1, LONG)]))
            await asyncio.sleep(0.5)
            assert not running.done()
            bench.embedder.hold.set()
            await running
        assert [outcome.result for outcome in heard.outcomes] == ["created"]
        assert (await in_thread(IngestionJob.objects.get)()).attempts == 1

    async def test_what_waits_in_the_queue_is_read_here(self):
        collection, heard = await in_thread(shelf)(), Heard()
        await in_thread(receive)(collection, LONG, source="1.md")
        foreground = Foreground(listener=heard.listener(), equipment=Bench().equipment())
        await foreground.run([self.errand(collection, 1, LONG)])
        assert [outcome.result for outcome in heard.outcomes] == ["created"]

    async def test_what_is_broken_off_is_cancelled(self):
        collection, heard, bench = await in_thread(shelf)(), Heard(), Bench()
        bench.embedder.hold = asyncio.Event()
        foreground = Foreground(listener=heard.listener(), equipment=bench.equipment())
        running = asyncio.create_task(foreground.run([self.errand(collection, 1, LONG)]))
        await asyncio.to_thread(bench.embedder.reached.wait, 20)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert await in_thread(states)() == ["cancelled"]
        assert not await in_thread(Chunk.objects.exists)()

    async def test_its_jobs_are_held_as_long_as_it_lives(self, monkeypatch, tmp_path):
        monkeypatch.setattr("knowledge.foreground.HOLD_SECONDS", 1.5)
        collection, heard, bench = await in_thread(shelf)(), Heard(), Bench()
        bench.embedder.hold = asyncio.Event()
        other = Bench()
        async with working(other, tmp_path):
            foreground = Foreground(listener=heard.listener(), equipment=bench.equipment())
            running = asyncio.create_task(foreground.run([self.errand(collection, 1, LONG)]))
            await asyncio.sleep(4.0)
            assert not other.embedder.asked
            bench.embedder.hold.set()
            await running
        assert [outcome.result for outcome in heard.outcomes] == ["created"]


async def until_done(seconds=60.0):
    deadline = asyncio.get_running_loop().time() + seconds
    while await in_thread(states)() != ["done"]:
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.05)


class Paper(StringIO):
    """A terminal, or a file; Django's ending of lines."""

    def __init__(self, *, terminal):
        super().__init__()
        self.terminal = terminal

    def isatty(self):
        return self.terminal

    def write(self, text="", style_func=None, ending="\n"):
        return super().write(text + ending)


class TestDisplay:
    def test_the_line_says_how_much_is_done_and_how_long_it_takes(self):
        assert bar(0, 40, 1.0, "a.md: reading") == f"[{'-' * 24}] 0 of 40  a.md: reading"
        assert bar(10, 40, 20.0, "") == f"[{'#' * 6}{'-' * 18}] 10 of 40  1 min 00 s left"
        assert bar(40, 40, 20.0, "z.md") == f"[{'#' * 24}] 40 of 40  z.md"

    def test_a_log_gets_few_lines(self):
        paper = Paper(terminal=False)
        display = IngestionDisplay(paper)
        display.total = 100
        for number in range(100):
            display.progress(f"{number}.md", Stage.EMBEDDING, 1, 2)
            display.outcome(Outcome(name=f"{number}.md", result="created" if number else "failed", reason="Broken."))
        lines = paper.getvalue().splitlines()
        assert lines[0] == "failed: 0.md: Broken."
        assert lines[1:] == [f"{done} of 100 documents" for done in range(10, 101, 10)]
        assert display.summary().startswith("99 created, 1 failed in")

    def test_a_terminal_gets_one_line_that_is_drawn_again(self):
        now = [0.0]
        paper = Paper(terminal=True)
        display = IngestionDisplay(paper, clock=lambda: now[0])
        display.total = 2
        display.progress("a.md", Stage.EMBEDDING, 3, 9)
        display.progress("a.md", Stage.EMBEDDING, 4, 9)  # too soon to be drawn
        now[0] = 1.0
        display.outcome(Outcome(name="a.md", result="created"))
        now[0] = 2.0
        display.outcome(Outcome(name="b.md", result="unchanged"))
        display.end()
        drawn = paper.getvalue().split("\r")[1:]
        assert [line.partition("\x1b")[0] for line in drawn] == [
            f"[{'-' * 24}] 0 of 2  a.md: embedding 3/9",
            f"[{'#' * 12}{'-' * 12}] 1 of 2  1 s left  a.md",
            f"[{'#' * 24}] 2 of 2  b.md",
        ]
        assert paper.getvalue().endswith("\n")
