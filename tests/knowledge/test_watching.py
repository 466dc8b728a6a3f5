"""Sources that are followed: real folders, a web site on loopback, and a repository of the git program."""

import asyncio
import os
import shutil
import subprocess
import time
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from aiohttp import web
from django.core.management import CommandError, call_command
from django.utils import timezone

from knowledge.authors import Author
from knowledge.documents import document_delete
from knowledge.models import Chunk, Collection, Document, DocumentRevision, IngestionJob, WatchedSource
from knowledge.receiving import Incoming, document_receive
from knowledge.threads import in_thread
from knowledge.watching import look, look_now, preview, source_check
from knowledge.watching.findings import ItemFailed, SourceFailed
from knowledge.watching.folders import Folder
from knowledge.watching.gone import documents_keep
from knowledge.watching.looking import _InThread, clones_folder
from knowledge.watching.patterns import Pattern
from knowledge.watching.places import RepositoryAddress
from knowledge.watching.repositories import Repository, clones_forget
from knowledge.watching.schedule import Claim, claim, finish, look_claimed, renew
from knowledge.web import Manners, Web
from tests.knowledge.library import Bench, chunk_edit, shelf
from tests.knowledge.test_worker import until, working
from tests.knowledge.website import LOOPBACK, website

pytestmark = pytest.mark.usefixtures("knowledge")


@pytest.fixture
def folder(tmp_path, settings):
    settings.WATCH_FOLDERS = [str(tmp_path)]
    folder = tmp_path / "docs"
    write(folder, "cat.md", "Cats purr.")
    write(folder, "more/dog.md", "Dogs bark.")
    return folder


def write(folder, name, text):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def source_of(location, kind="folder", *, collection=None, **fields):
    return WatchedSource.objects.create(collection=collection or shelf(), kind=kind, location=str(location), **fields)


def looked(source, *, bench=None, web=None):
    """Look at a source as a worker does, have what was found read, and return how it went."""
    bench = bench or Bench(web=web)
    held = claim(source)
    assert held is not None
    found = asyncio.run(look_claimed(held, equipment=bench.equipment()))
    while job := IngestionJob.objects.unfinished().filter(collection=source.collection).first():
        bench.run(job)
    source.refresh_from_db()
    return found


def texts(source):
    rows = Chunk.objects.findable().filter(collection=source.collection).order_by("document__source", "ordinal")
    return list(rows.values_list("text", flat=True))


class TestFolders:
    def test_what_is_there_is_read_and_what_did_not_change_is_not_touched(self, folder):
        source = source_of(folder)
        assert looked(source).sentence == "2 new."
        assert texts(source) == ["Cats purr.", "Dogs bark."]
        assert set(source.documents.values_list("source", flat=True)) == {"docs/cat.md", "docs/more/dog.md"}
        (folder / "cat.md").chmod(0)
        jobs = IngestionJob.objects.count()
        assert looked(source).sentence == "Nothing had changed."
        assert IngestionJob.objects.count() == jobs
        assert source.error == ""
        assert source.last_looked_at is not None

    def test_what_changed_is_read_again_and_says_where_from(self, folder):
        source = source_of(folder)
        looked(source)
        write(folder, "cat.md", "Cats purr loudly.")
        write(folder, "cow.md", "Cows moo.")
        assert looked(source).sentence == "1 new, 1 changed."
        assert texts(source) == ["Cats purr loudly.", "Cows moo.", "Dogs bark."]
        revision = DocumentRevision.objects.get(document__source="docs/cat.md", state="live")
        assert (revision.author_name, revision.reason) == (str(folder), "It changed in its folder.")

    def test_what_is_gone_is_marked_and_stays_found(self, folder):
        source = source_of(folder)
        looked(source)
        (folder / "cat.md").unlink()
        assert looked(source).sentence == "1 not there any more."
        assert "Cats purr." in texts(source)
        document = Document.objects.get(source="docs/cat.md")
        since = document.missing_since
        assert since is not None
        looked(source)
        document.refresh_from_db()
        assert document.missing_since == since
        write(folder, "cat.md", "Cats purr again.")
        assert looked(source).sentence == "1 changed, 1 there again."
        document.refresh_from_db()
        assert document.missing_since is None
        assert "Cats purr again." in texts(source)

    def test_what_is_kept_is_no_longer_followed(self, folder):
        source = source_of(folder)
        looked(source)
        (folder / "cat.md").unlink()
        looked(source)
        assert documents_keep(Document.objects.all()) == 1
        assert looked(source).sentence == "Nothing had changed."
        document = Document.objects.get(source="docs/cat.md")
        assert (document.missing_since, document.watch) == (None, None)
        assert "Cats purr." in texts(source)

    def test_what_somebody_deleted_does_not_come_back_until_it_changes(self, folder):
        source = source_of(folder)
        looked(source)
        document_delete(document=Document.objects.get(source="docs/cat.md"))
        assert looked(source).sentence == "Nothing had changed."
        assert texts(source) == ["Dogs bark."]
        write(folder, "cat.md", "Cats purr loudly.")
        looked(source)
        assert "Cats purr loudly." in texts(source)

    def test_a_source_that_lost_most_is_not_believed_until_somebody_says_so(self, folder):
        for number in range(20):
            write(folder, f"{number}.md", f"Number {number}.")
        source = source_of(folder)
        looked(source)
        for number in range(15):
            (folder / f"{number}.md").unlink()
        write(folder, "new.md", "New.")
        found = looked(source)
        assert "15 of its 22 documents are not there any more." in found.error
        assert source.error == found.error
        assert not Document.objects.filter(missing_since__isnull=False).exists()
        assert not Document.objects.filter(source="docs/new.md").exists()
        look_now(source=source, accepting_loss=True)
        assert looked(source).sentence == "1 new, 15 not there any more."
        assert (source.error, source.accepts_loss) == ("", False)

    def test_a_folder_that_is_not_there_is_told_and_nothing_is_gone(self, folder):
        source = source_of(folder)
        looked(source)
        folder.rename(folder.parent / "elsewhere")
        assert "There is no such folder" in looked(source).error
        assert source.outcome == "2 new."
        assert not Document.objects.filter(missing_since__isnull=False).exists()

    def test_links_lead_nowhere_else(self, folder, tmp_path):
        write(tmp_path, "secret/key.txt", "The key.")
        (folder / "key.txt").symlink_to(tmp_path / "secret/key.txt")
        (folder / "others").symlink_to(tmp_path / "secret")
        (folder / "broken.md").symlink_to(tmp_path / "nothing")
        (folder / "alias.md").symlink_to("cat.md")
        source = source_of(folder)
        found = looked(source)
        assert texts(source) == ["Cats purr.", "Cats purr.", "Dogs bark."]
        assert "Left out: 2 links that lead out of the folder" in found.sentence

    def test_a_file_that_became_a_link_is_not_followed_out(self, folder, tmp_path):
        place = Folder(folder.resolve(), Pattern())
        place.listing()
        write(tmp_path, "key.txt", "The key.")
        (folder / "cat.md").unlink()
        (folder / "cat.md").symlink_to(tmp_path / "key.txt")
        with pytest.raises(ItemFailed, match="leads out"):
            place.bring("docs/cat.md")

    def test_only_what_is_meant_is_read(self, folder):
        for name in ("a.txt", ".hidden.md", ".git/config", "picture.png", "old/b.md"):
            write(folder, name, "Text.")
        source = source_of(folder, pattern="**/*.md, !old/**")
        looked(source)
        assert texts(source) == ["Cats purr.", "Dogs bark."]

    def test_two_sources_with_the_same_names_do_not_fight(self, folder, tmp_path):
        first = source_of(folder)
        write(tmp_path, "other/docs/cat.md", "Other cats.")
        second = source_of(tmp_path / "other/docs", collection=first.collection)
        looked(first)
        assert f"it comes from {folder} already, under the same name" in looked(second).sentence
        assert "Cats purr." in texts(first)

    def test_what_was_uploaded_by_hand_is_taken_over(self, folder):
        source = source_of(folder)
        brought = Incoming(source="docs/cat.md", name="cat.md", data=b"Cats purr.")
        Bench().run(document_receive(collection=source.collection, incoming=brought).job)
        assert looked(source).sentence == "1 new."
        assert Document.objects.get(source="docs/cat.md").watch == source
        assert DocumentRevision.objects.filter(document__source="docs/cat.md").count() == 1

    def test_one_file_that_cannot_be_had_stops_no_other(self, folder, monkeypatch):
        monkeypatch.setattr("knowledge.watching.folders.LARGEST", 12)
        write(folder, "large.md", "More than twelve bytes.")
        source = source_of(folder)
        found = looked(source)
        assert "“docs/large.md”: it has more than" in found.sentence
        assert texts(source) == ["Cats purr.", "Dogs bark."]
        monkeypatch.setattr("knowledge.watching.folders.LARGEST", 1_000)
        assert looked(source).sentence == "1 new."

    def test_a_look_that_takes_too_long_goes_on_with_the_next(self, folder, monkeypatch):
        source = source_of(folder)
        monkeypatch.setattr("knowledge.watching.looking.LOOK_SECONDS", -1.0)
        assert "The time was up; 2 more are looked at the next time." in looked(source).sentence
        monkeypatch.setattr("knowledge.watching.looking.LOOK_SECONDS", 60.0)
        assert looked(source).sentence == "2 new."

    def test_a_preview_reads_nothing(self, folder):
        source = source_of(folder)
        found = asyncio.run(preview(source, equipment=Bench().equipment()))
        assert set(found.changes.new) == {"docs/cat.md", "docs/more/dog.md"}
        assert not Document.objects.exists()


class TestReview:
    def test_what_changed_waits_for_review_where_the_collection_wants_it(self, folder):
        source = source_of(folder)
        looked(source)
        Collection.objects.update(review=True)
        source.collection.refresh_from_db()
        write(folder, "cat.md", "Cats hiss.")
        looked(source)
        assert "Cats purr." in texts(source)
        waiting = DocumentRevision.objects.get(state="review")
        assert (waiting.document.source, waiting.reason) == ("docs/cat.md", "It changed in its folder.")

    def test_what_people_changed_stays(self, folder):
        source = source_of(folder)
        looked(source)
        bench = Bench()
        chunk = Chunk.objects.get(text="Cats purr.")
        bench.run(chunk_edit(chunk=chunk, text="Cats purr a lot.", author=Author(name="anna")).job)
        write(folder, "cat.md", "# News\n\nSomething is new.\n\n# Cats\n\nCats purr.")
        looked(source)
        assert any("Cats purr a lot." in text for text in texts(source))


class TestWhere:
    @pytest.mark.parametrize("path", ["/etc", "/", "relative", "/tmp/../etc", ""])
    def test_only_folders_that_are_allowed(self, folder, path):
        with pytest.raises(SourceFailed):
            source_check(kind="folder", location=path)
        with pytest.raises(SourceFailed):
            source_check(kind="git", location=f"file://{path}")

    def test_none_without_the_setting(self, folder, settings):
        source_check(kind="folder", location=str(folder))
        settings.WATCH_FOLDERS = []
        with pytest.raises(SourceFailed, match="WATCH_FOLDERS"):
            source_check(kind="folder", location=str(folder))

    def test_no_link_out_of_them(self, folder, tmp_path, settings):
        settings.WATCH_FOLDERS = [str(folder)]
        (folder / "up").symlink_to(tmp_path)
        with pytest.raises(SourceFailed, match="not below one"):
            source_check(kind="folder", location=str(folder / "up"))

    @pytest.mark.parametrize(
        ("text", "url", "name"),
        [
            ("https://example.org/group/handbook.git", "https://example.org/group/handbook.git", "handbook"),
            ("https://example.org:8443/handbook/", "https://example.org:8443/handbook/", "handbook"),
            ("git@example.org:group/handbook.git", "ssh://git@example.org/group/handbook.git", "handbook"),
            ("example.org:handbook", "ssh://git@example.org/handbook", "handbook"),
            ("ssh://example.org:2222/srv/handbook", "ssh://example.org:2222/srv/handbook", "handbook"),
        ],
    )
    def test_addresses_of_repositories(self, text, url, name):
        address = RepositoryAddress.parse(text)
        assert (address.url, address.name) == (url, name)

    @pytest.mark.parametrize(
        "text",
        [
            "ext::sh -c touch% /tmp/x",
            "https://user:secret@example.org/a",
            "https://token@example.org/a",
            "ssh://-oProxyCommand=x/a",
            "ssh://-x@example.org/a",
            "-oProxyCommand=x:a",
            "https://example.org:99999/a",
            "https:///a",
            "https://example.org/",
            "ftp://example.org/a",
            "/srv/handbook",
            "",
        ],
    )
    def test_what_is_no_address_of_a_repository(self, text):
        with pytest.raises(SourceFailed):
            source_check(kind="git", location=text)

    @pytest.mark.parametrize("branch", ["--upload-pack=x", "a b", "a..b", "a:b", "+a"])
    def test_what_is_no_branch(self, branch):
        with pytest.raises(SourceFailed, match="branch"):
            source_check(kind="git", location="https://example.org/a.git", branch=branch)

    def test_addresses_of_pages(self):
        source_check(kind="sitemap", location="https://example.org/sitemap.xml")
        for text in ("file:///etc/passwd", "no address", "https://user:secret@example.org/"):
            with pytest.raises(SourceFailed):
                source_check(kind="feed", location=text)


# --- the web


def sitemap(*entries):
    urls = "".join(
        f"<url><loc>{url}</loc>{f'<lastmod>{when}</lastmod>' if when else ''}</url>" for url, when in entries
    )
    return f"<urlset>{urls}</urlset>"


@asynccontextmanager
async def site():
    async with website() as found:
        yield found, Bench(web=Web(LOOPBACK, resolve=found.resolve, manners=Manners(delay=0.0)))


async def looked_at(source, bench):
    held = await in_thread(claim)(source)
    found = await look_claimed(held, equipment=bench.equipment())
    await in_thread(source.refresh_from_db)()
    return found


def run_all(source, bench):
    for job in IngestionJob.objects.unfinished().filter(collection=source.collection):
        bench.run(job)


class TestPages:
    async def test_a_sitemap_is_followed_page_by_page(self):
        async with site() as (pages, bench):
            a, b = pages.at("a.test") + "/a", pages.at("a.test") + "/b"
            pages.put("/sitemap.xml", sitemap((a, ""), (b, "2026-01-01")))
            pages.put("/a", "<p>Cats purr.</p>", Content_Type="text/html", ETag='"1"')
            pages.put("/b", "<p>Dogs bark.</p>", Content_Type="text/html")
            source = await in_thread(source_of)(pages.at("a.test") + "/sitemap.xml", "sitemap")
            assert (await looked_at(source, bench)).sentence == "2 new."
            await in_thread(run_all)(source, bench)
            assert sorted(await in_thread(texts)(source)) == ["Cats purr.", "Dogs bark."]
            document = await in_thread(Document.objects.get)(source=a)
            assert (document.origin, document.etag, document.url) == ("url", '"1"', a)

            pages.asked.clear()
            pages.put("/a", status=304)
            assert (await looked_at(source, bench)).sentence == "Nothing had changed."
            assert pages.paths() == ["/sitemap.xml", "/a"]  # of b its sitemap says that it is the same
            assert pages.headers[-1]["If-None-Match"] == '"1"'

            pages.put("/sitemap.xml", sitemap((a, ""), (b, "2026-02-02")))
            pages.put("/b", "<p>Dogs howl.</p>", Content_Type="text/html")
            assert (await looked_at(source, bench)).sentence == "1 changed."

            pages.put("/sitemap.xml", sitemap((b, "2026-02-02")))
            assert (await looked_at(source, bench)).sentence == "1 not there any more."

    async def test_a_page_that_is_listed_and_answers_404_is_gone(self):
        async with site() as (pages, bench):
            a = pages.at("a.test") + "/a"
            pages.put("/sitemap.xml", sitemap((a, "")))
            pages.put("/a", "Cats purr.", Content_Type="text/plain")
            source = await in_thread(source_of)(pages.at("a.test") + "/sitemap.xml", "sitemap")
            await looked_at(source, bench)
            pages.put("/a", status=410)
            assert (await looked_at(source, bench)).sentence == "1 not there any more."
            document = await in_thread(Document.objects.get)()
            assert document.missing_since is not None
            pages.put("/a", status=503)
            assert "answered with status 503" in (await looked_at(source, bench)).sentence
            pages.put("/a", "Cats purr.", Content_Type="text/plain")
            assert (await looked_at(source, bench)).sentence == "1 there again."
            await in_thread(document.refresh_from_db)()
            assert document.missing_since is None
            await in_thread(run_all)(source, bench)

    async def test_a_site_that_answers_404_to_everything_loses_nothing(self):
        async with site() as (pages, bench):
            names = [f"/{number}" for number in range(12)]
            pages.put("/sitemap.xml", sitemap(*((pages.at("a.test") + name, "") for name in names)))
            for name in names:
                pages.put(name, f"Page {name}.", Content_Type="text/plain")
            source = await in_thread(source_of)(pages.at("a.test") + "/sitemap.xml", "sitemap")
            await looked_at(source, bench)
            for name in names:
                pages.put(name, status=404)
            assert "12 of its 12 documents are not there any more." in (await looked_at(source, bench)).error
            assert not await in_thread(Document.objects.filter(missing_since__isnull=False).exists)()
            await in_thread(look_now)(source=source, accepting_loss=True)
            await in_thread(source.refresh_from_db)()
            assert (await looked_at(source, bench)).sentence == "12 not there any more."
            await in_thread(run_all)(source, bench)

    async def test_what_leaves_a_feed_is_not_gone(self):
        async with site() as (pages, bench):
            for name in ("a", "b"):
                pages.put(f"/{name}", f"News {name}.", Content_Type="text/plain")

            def feed(*names):
                entries = "".join(f'<entry><link href="{pages.at("b.test")}/{name}"/></entry>' for name in names)
                pages.put("/feed", f"<feed>{entries}</feed>")

            feed("a", "b")
            source = await in_thread(source_of)(pages.at("a.test") + "/feed", "feed")
            assert (await looked_at(source, bench)).sentence == "2 new."
            feed("b")
            assert (await looked_at(source, bench)).sentence == "Nothing had changed."
            await in_thread(run_all)(source, bench)

    async def test_a_sitemap_that_is_broken_loses_nothing(self):
        async with site() as (pages, bench):
            a = pages.at("a.test") + "/a"
            index = "".join(f"<sitemap><loc>{pages.at('a.test')}/{name}.xml</loc></sitemap>" for name in ("one", "two"))
            pages.put("/sitemap.xml", f"<sitemapindex>{index}</sitemapindex>")
            pages.put("/one.xml", sitemap((a, "")))
            pages.put("/two.xml", sitemap((pages.at("a.test") + "/b", "")))
            for name in ("a", "b"):
                pages.put(f"/{name}", f"Page {name}.", Content_Type="text/plain")
            source = await in_thread(source_of)(pages.at("a.test") + "/sitemap.xml", "sitemap")
            assert (await looked_at(source, bench)).sentence == "2 new."
            pages.put("/two.xml", status=500)
            found = await looked_at(source, bench)
            assert "Nothing had changed." in found.sentence
            assert "two.xml cannot be read" in found.sentence
            pages.put("/sitemap.xml", status=500)
            assert "status 500" in (await looked_at(source, bench)).error
            await in_thread(run_all)(source, bench)

    async def test_places_inside_are_not_read(self):
        async with site() as (pages, bench):
            pages.put("/sitemap.xml", sitemap((pages.at("inside.test") + "/a", ""), ("file:///etc/passwd", "")))
            source = await in_thread(source_of)(pages.at("inside.test") + "/sitemap.xml", "sitemap")
            assert "not on the public internet" in (await looked_at(source, bench)).error


# --- git


@pytest.fixture
def repository(tmp_path, settings):
    settings.WATCH_FOLDERS = [str(tmp_path)]
    folder = tmp_path / "handbook"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    commit(folder, **{"cat.md": "Cats purr.", "docs/dog.md": "Dogs bark."})
    return folder


def git(folder, *arguments):
    who = ("-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True)


def commit(folder, **files):
    for name, text in files.items():
        write(folder, name, text)
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "-m", "Changed.")


@asynccontextmanager
async def git_server(root):
    """Serve the repositories below a folder by git's own program for web servers; /moved is redirected elsewhere."""

    async def answer(request):
        if request.path.startswith("/moved"):
            return web.Response(status=302, headers={"Location": str(request.rel_url).replace("/moved", "/handbook")})
        environment = os.environ | {
            "GIT_PROJECT_ROOT": str(root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "REQUEST_METHOD": request.method,
            "PATH_INFO": request.path.replace("/handbook", "/handbook/.git", 1),
            "QUERY_STRING": request.query_string,
            "CONTENT_TYPE": request.headers.get("Content-Type", ""),
            "HTTP_CONTENT_ENCODING": request.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": request.headers.get("Git-Protocol", ""),
        }
        running = await asyncio.create_subprocess_exec(
            "git", "http-backend", env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        out, _ = await running.communicate(await request.read())
        head, _, body = out.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().splitlines())
        status = int(headers.pop("Status", "200").split()[0])
        return web.Response(status=status, body=body, headers=headers)

    runner = web.ServerRunner(web.Server(answer, access_log=None), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield runner.addresses[0][1]
    await runner.cleanup()


@pytest.mark.skipif(shutil.which("git") is None, reason="needs the git program")
class TestRepositories:
    def test_it_is_followed_commit_by_commit(self, repository):
        source = source_of(f"file://{repository}", "git")
        assert looked(source).sentence == "2 new."
        assert texts(source) == ["Cats purr.", "Dogs bark."]
        assert set(source.documents.values_list("source", flat=True)) == {"handbook/cat.md", "handbook/docs/dog.md"}
        assert looked(source).sentence == "Nothing had changed."
        commit(repository, **{"cat.md": "Cats hiss.", "cow.md": "Cows moo."})
        assert looked(source).sentence == "1 new, 1 changed."
        revision = DocumentRevision.objects.get(document__source="handbook/cat.md", state="live")
        assert revision.reason.startswith("It changed in commit ")
        git(repository, "rm", "--quiet", "docs/dog.md")
        git(repository, "commit", "--quiet", "-m", "Gone.")
        assert looked(source).sentence == "1 not there any more."
        assert texts(source) == ["Cats hiss.", "Cows moo.", "Dogs bark."]

    def test_history_is_not_fetched_and_rewritten_history_is_followed(self, repository):
        for number in range(5):
            commit(repository, **{"cat.md": f"Cats purr {number} times."})
        source = source_of(f"file://{repository}", "git")
        looked(source)
        clone = clones_folder() / str(source.pk)
        count = subprocess.run(
            ["git", "rev-list", "--count", "refs/watched/tip"], cwd=clone, capture_output=True, check=True
        )
        assert count.stdout.strip() == b"1"
        git(repository, "checkout", "--quiet", "--orphan", "fresh")
        commit(repository, **{"cat.md": "All is new."})
        git(repository, "branch", "-M", "main")
        assert looked(source).sentence == "1 changed."

    def test_a_branch_and_a_pattern(self, repository):
        git(repository, "checkout", "--quiet", "-b", "drafts/next")
        commit(repository, **{"docs/new.md": "A draft."})
        git(repository, "checkout", "--quiet", "main")
        source = source_of(f"file://{repository}", "git", branch="drafts/next", pattern="docs/**")
        looked(source)
        assert texts(source) == ["Dogs bark.", "A draft."]

    def test_links_submodules_and_hooks_do_nothing(self, repository, tmp_path):
        write(tmp_path, "secret.txt", "The key.")
        (repository / "key.txt").symlink_to(tmp_path / "secret.txt")
        write(repository, ".gitmodules", '[submodule "x"]\n\tpath = x\n\turl = ext::sh -c "touch /tmp/owned"\n')
        hook = write(repository, ".git/hooks/post-upload-pack", f"#!/bin/sh\ntouch {tmp_path}/owned\n")
        hook.chmod(0o755)
        commit(repository)
        source = source_of(f"file://{repository}", "git")
        found = looked(source)
        assert texts(source) == ["Cats purr.", "Dogs bark."]
        assert "Left out: 1 links and submodules." in found.sentence
        assert not (tmp_path / "owned").exists()

    def test_what_lfs_keeps_is_told(self, repository):
        commit(repository, **{"big.md": "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"})
        found = looked(source_of(f"file://{repository}", "git"))
        assert "“handbook/big.md”: it is kept by git-lfs, which is not read." in found.sentence

    def test_what_git_says_is_told(self, repository):
        source = source_of(f"file://{repository}", "git", branch="nothing")
        assert "git failed: couldn't find remote ref refs/heads/nothing" in looked(source).error
        assert source.error.startswith("git failed")

    def test_hosts_inside_are_not_asked(self, repository, settings):
        settings.FETCH_ALLOWED_HOSTS = []
        for location in ("http://127.0.0.1:1/a.git", "git@localhost:a.git", "ssh://10.0.0.1/a.git"):
            source = source_of(location, "git", collection=Collection.objects.first())
            assert "not on the public internet" in looked(source).error

    async def test_over_http_git_goes_to_the_address_that_was_checked(self, repository, tmp_path):
        """The host's name is known to nobody: whoever resolved it a second time would find nothing."""
        async with git_server(repository.parent) as port:
            address = RepositoryAddress.parse(f"http://handbook.invalid:{port}/handbook")
            pinned = Repository(
                address, branch="", pattern=Pattern(), folder=tmp_path / "clone", addresses=["127.0.0.1"]
            )
            listing = await asyncio.to_thread(pinned.listing)
            assert set(listing.stamps) == {"handbook/cat.md", "handbook/docs/dog.md"}
            assert (await asyncio.to_thread(pinned.bring, "handbook/cat.md")).data == b"Cats purr."
            moved = Repository(
                RepositoryAddress.parse(f"http://handbook.invalid:{port}/moved"),
                branch="",
                pattern=Pattern(),
                folder=tmp_path / "other",
                addresses=["127.0.0.1"],
            )
            with pytest.raises(SourceFailed, match="git failed"):  # and a redirect leads nowhere
                await asyncio.to_thread(moved.listing)

    def test_over_http_it_is_followed(self, repository, settings):
        settings.FETCH_ALLOWED_HOSTS = ["127.0.0.1"]

        async def main():
            async with git_server(repository.parent) as port:
                source = await in_thread(source_of)(f"http://127.0.0.1:{port}/handbook", "git")
                return source, await looked_at(source, Bench())

        source, found = asyncio.run(main())
        assert found.sentence == "2 new."
        run_all(source, Bench())

    async def test_a_look_that_is_stopped_stops_git(self, tmp_path):
        """A server that takes connections and never answers."""

        closed = asyncio.Event()

        async def keep_silent(reader, writer):
            await reader.read()  # until git is gone
            writer.close()
            await writer.wait_closed()
            closed.set()

        async with await asyncio.start_server(keep_silent, "127.0.0.1", 0) as silent:
            port = silent.sockets[0].getsockname()[1]
            place = _InThread(
                Repository(
                    RepositoryAddress.parse(f"http://127.0.0.1:{port}/a"),
                    branch="",
                    pattern=Pattern(),
                    folder=tmp_path / "clone",
                    addresses=["127.0.0.1"],
                )
            )
            listing = asyncio.create_task(place.listing())
            await asyncio.sleep(0.5)
            began = time.monotonic()
            listing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await listing
            while place.place._running.poll() is None:
                assert time.monotonic() - began < 20.0
                await asyncio.sleep(0.01)
            await asyncio.wait_for(closed.wait(), 20.0)

    def test_what_is_left_of_deleted_sources_is_deleted(self, repository):
        source = source_of(f"file://{repository}", "git")
        looked(source)
        clones_forget(clones_folder(), {source.pk})
        assert (clones_folder() / str(source.pk)).is_dir()
        clones_forget(clones_folder(), set())
        assert not (clones_folder() / str(source.pk)).exists()
        clones_forget(clones_folder() / "nothing", set())

    def test_a_clone_that_was_broken_off_is_made_anew(self, repository):
        source = source_of(f"file://{repository}", "git")
        write(clones_folder() / str(source.pk), "objects/rest", "x")
        assert looked(source).sentence == "2 new."


# --- when, and by whom


class TestSchedule:
    def test_one_that_is_due_is_taken_once(self, folder):
        source = source_of(folder)
        held = claim()
        assert held.source == source
        assert claim() is None
        finish(held, asyncio.run(look(source, equipment=Bench().equipment())))
        run_all(source, Bench())
        source.refresh_from_db()
        assert timedelta(minutes=59) < source.next_look_at - timezone.now() <= timedelta(minutes=60)
        assert source.looking_until is None
        assert claim() is None

    def test_one_that_is_off_is_not_taken(self, folder):
        source_of(folder, enabled=False)
        assert claim() is None

    def test_whoever_is_killed_lets_go_of_it(self, folder):
        source = source_of(folder)
        lost = claim()
        WatchedSource.objects.update(looking_until=timezone.now() - timedelta(seconds=1))
        assert claim().source == source
        assert not renew(lost)
        late = asyncio.run(look(source, equipment=Bench().equipment()))
        finish(lost, late)
        source.refresh_from_db()
        assert source.last_looked_at is None  # what comes too late is not written
        run_all(source, Bench())

    def test_a_claim_is_kept_while_it_is_looked(self, folder):
        source_of(folder)
        held = claim()
        before = held.until
        time.sleep(0.01)
        assert renew(held)
        assert held.until > before

    def test_a_wish_to_look_now_outlasts_the_look_that_is_going_on(self, folder):
        source = source_of(folder)
        held = claim()
        time.sleep(0.01)
        look_now(source=source)
        finish(held, asyncio.run(look(source, equipment=Bench().equipment())))
        assert claim().source == source
        run_all(source, Bench())

    def test_a_look_that_is_stopped_is_given_back(self, folder, monkeypatch):
        source = source_of(folder)

        async def stopped(*_, **__):
            raise asyncio.CancelledError

        monkeypatch.setattr("knowledge.watching.schedule.look", stopped)
        with pytest.raises(asyncio.CancelledError):
            asyncio.run(look_claimed(claim(), equipment=Bench().equipment()))
        assert claim().source == source

    def test_an_error_stops_no_other_source_and_is_tried_again(self, folder, tmp_path):
        bad = source_of(tmp_path / "nothing")
        good = source_of(folder, collection=bad.collection)
        assert looked(bad).error
        assert bad.next_look_at > timezone.now()
        assert looked(good).sentence == "2 new."

    def test_a_collection_that_has_expired_is_told(self, folder):
        source = source_of(folder, collection=shelf(expires_after_days=1))
        Collection.objects.update(last_active_at=timezone.now() - timedelta(days=3))
        assert "has expired" in looked(source).error

    async def test_the_worker_looks_by_itself(self, folder, tmp_path, monkeypatch):
        monkeypatch.setattr("knowledge.watching.schedule.POLL_SECONDS", 0.1)
        source = await in_thread(source_of)(folder)
        async with working(Bench(), tmp_path):
            await until(lambda: texts(source) == ["Cats purr.", "Dogs bark."])
            write(folder, "cow.md", "Cows moo.")
            await in_thread(look_now)(source=source)
            await until(lambda: "Cows moo." in texts(source))
        await in_thread(source.refresh_from_db)()
        assert source.looking_until is None


class TestCommand:
    def test_sources_are_listed_and_looked_at(self, folder, capsys):
        call_command("watch")
        assert "No source is watched" in capsys.readouterr().out
        source = source_of(folder)
        call_command("watch")
        assert f"{source.pk}  folder  {folder}  → handbook: not looked at yet" in capsys.readouterr().out
        call_command("watch", source.pk, "--dry-run")
        assert "new: 2" in capsys.readouterr().out
        assert not Document.objects.exists()
        call_command("watch", source.pk)
        assert "2 new." in capsys.readouterr().out
        run_all(source, Bench())

    def test_problems_are_told(self, folder, tmp_path):
        with pytest.raises(CommandError, match="no watched source 99"):
            call_command("watch", 99)
        source = source_of(tmp_path / "nothing")
        with pytest.raises(CommandError, match="no such folder"):
            call_command("watch", source.pk)
        with pytest.raises(CommandError, match="no such folder"):
            call_command("watch", source.pk, "--dry-run")
        assert isinstance(claim(source), Claim)
        with pytest.raises(CommandError, match="Somebody looks"):
            call_command("watch", source.pk)


def test_a_folder_that_may_not_be_read_is_told_and_loses_nothing(folder):
    if os.geteuid() == 0:
        pytest.skip("the super-user may read everything")
    source = source_of(folder)
    looked(source)
    (folder / "more").chmod(0)
    try:
        found = looked(source)
    finally:
        (folder / "more").chmod(0o755)
    assert "Folders that cannot be read, such as more: 1." in found.sentence
    assert not Document.objects.filter(missing_since__isnull=False).exists()
