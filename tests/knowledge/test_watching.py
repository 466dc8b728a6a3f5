"""Sources that are followed: real folders, a web site on loopback, and a repository of the git program."""

import asyncio
import os
import shutil
import subprocess
import time
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from knowledge.authors import Author
from knowledge.curation.editing import chunk_edit
from knowledge.documents import document_delete
from knowledge.models import Chunk, Collection, Document, DocumentRevision, IngestionJob, WatchedSource
from knowledge.threads import in_thread
from knowledge.watching import look, look_now, preview, source_check
from knowledge.watching.findings import SourceFailed
from knowledge.watching.gone import documents_keep
from knowledge.watching.looking import clones_folder
from knowledge.watching.places import RepositoryAddress
from knowledge.watching.repositories import clones_forget
from knowledge.watching.schedule import Claim, claim, finish, look_claimed, renew
from knowledge.web import Manners, Web
from tests.knowledge.library import Bench, put, shelf
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
        assert looked(source).sentence == "2 new documents."
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
        assert looked(source).sentence == "1 new documents, 1 changed ones."
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
        assert looked(source).sentence == "1 changed ones, 1 there again."
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
        assert looked(source).sentence == "1 new documents, 15 not there any more."
        assert (source.error, source.accepts_loss) == ("", False)

    def test_a_folder_that_is_not_there_is_told_and_nothing_is_gone(self, folder):
        source = source_of(folder)
        looked(source)
        folder.rename(folder.parent / "elsewhere")
        assert "There is no such folder" in looked(source).error
        assert source.outcome == "2 new documents."
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
        from knowledge.watching.findings import ItemFailed
        from knowledge.watching.folders import Folder
        from knowledge.watching.patterns import Pattern

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
        put(source.collection, "Cats purr.", source="docs/cat.md")
        assert looked(source).sentence == "1 new documents."
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
        assert looked(source).sentence == "1 new documents."

    def test_a_look_that_takes_too_long_goes_on_with_the_next(self, folder, monkeypatch):
        source = source_of(folder)
        monkeypatch.setattr("knowledge.watching.looking.LOOK_SECONDS", -1.0)
        assert "The time was up; 2 more are looked at the next time." in looked(source).sentence
        monkeypatch.setattr("knowledge.watching.looking.LOOK_SECONDS", 60.0)
        assert looked(source).sentence == "2 new documents."

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
        web = Web(LOOPBACK, resolve=found.resolve, manners=Manners(delay=0.0))
        yield found, Bench(web=web)


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
        async with site() as (web, bench):
            a, b = web.at("a.test") + "/a", web.at("a.test") + "/b"
            web.put("/sitemap.xml", sitemap((a, ""), (b, "2026-01-01")))
            web.put("/a", "<p>Cats purr.</p>", Content_Type="text/html", ETag='"1"')
            web.put("/b", "<p>Dogs bark.</p>", Content_Type="text/html")
            source = await in_thread(source_of)(web.at("a.test") + "/sitemap.xml", "sitemap")
            assert (await looked_at(source, bench)).sentence == "2 new documents."
            await asyncio.to_thread(run_all, source, bench)
            assert sorted(await in_thread(texts)(source)) == ["Cats purr.", "Dogs bark."]
            document = await in_thread(Document.objects.get)(source=a)
            assert (document.origin, document.etag, document.url) == ("url", '"1"', a)

            web.asked.clear()
            web.put("/a", status=304)
            assert (await looked_at(source, bench)).sentence == "Nothing had changed."
            assert web.paths() == ["/sitemap.xml", "/a"]  # of b its sitemap says that it is the same
            assert web.headers[-1]["If-None-Match"] == '"1"'

            web.put("/sitemap.xml", sitemap((a, ""), (b, "2026-02-02")))
            web.put("/b", "<p>Dogs howl.</p>", Content_Type="text/html")
            assert (await looked_at(source, bench)).sentence == "1 changed ones."

            web.put("/sitemap.xml", sitemap((b, "2026-02-02")))
            assert (await looked_at(source, bench)).sentence == "1 not there any more."

    async def test_a_page_that_is_listed_and_answers_404_is_gone(self):
        async with site() as (web, bench):
            a = web.at("a.test") + "/a"
            web.put("/sitemap.xml", sitemap((a, "")))
            web.put("/a", "Cats purr.", Content_Type="text/plain")
            source = await in_thread(source_of)(web.at("a.test") + "/sitemap.xml", "sitemap")
            await looked_at(source, bench)
            web.put("/a", status=410)
            assert (await looked_at(source, bench)).sentence == "1 not there any more."
            document = await in_thread(Document.objects.get)()
            assert document.missing_since is not None
            web.put("/a", status=503)
            assert "answered with status 503" in (await looked_at(source, bench)).sentence
            web.put("/a", "Cats purr.", Content_Type="text/plain")
            assert (await looked_at(source, bench)).sentence == "1 there again."
            await in_thread(document.refresh_from_db)()
            assert document.missing_since is None
            await asyncio.to_thread(run_all, source, bench)

    async def test_what_leaves_a_feed_is_not_gone(self):
        async with site() as (web, bench):
            for name in ("a", "b"):
                web.put(f"/{name}", f"News {name}.", Content_Type="text/plain")

            def feed(*names):
                entries = "".join(f'<entry><link href="{web.at("b.test")}/{name}"/></entry>' for name in names)
                web.put("/feed", f"<feed>{entries}</feed>")

            feed("a", "b")
            source = await in_thread(source_of)(web.at("a.test") + "/feed", "feed")
            assert (await looked_at(source, bench)).sentence == "2 new documents."
            feed("b")
            assert (await looked_at(source, bench)).sentence == "Nothing had changed."
            await asyncio.to_thread(run_all, source, bench)

    async def test_a_sitemap_that_is_broken_loses_nothing(self):
        async with site() as (web, bench):
            a = web.at("a.test") + "/a"
            index = "".join(f"<sitemap><loc>{web.at('a.test')}/{name}.xml</loc></sitemap>" for name in ("one", "two"))
            web.put("/sitemap.xml", f"<sitemapindex>{index}</sitemapindex>")
            web.put("/one.xml", sitemap((a, "")))
            web.put("/two.xml", sitemap((web.at("a.test") + "/b", "")))
            for name in ("a", "b"):
                web.put(f"/{name}", f"Page {name}.", Content_Type="text/plain")
            source = await in_thread(source_of)(web.at("a.test") + "/sitemap.xml", "sitemap")
            assert (await looked_at(source, bench)).sentence == "2 new documents."
            web.put("/two.xml", status=500)
            found = await looked_at(source, bench)
            assert "Nothing had changed." in found.sentence
            assert "two.xml cannot be read" in found.sentence
            web.put("/sitemap.xml", status=500)
            assert "status 500" in (await looked_at(source, bench)).error
            await asyncio.to_thread(run_all, source, bench)

    async def test_places_inside_are_not_read(self):
        async with site() as (web, bench):
            web.put("/sitemap.xml", sitemap((web.at("inside.test") + "/a", ""), ("file:///etc/passwd", "")))
            source = await in_thread(source_of)(web.at("inside.test") + "/sitemap.xml", "sitemap")
            assert "not on the public internet" in (await looked_at(source, bench)).error


# --- git


@pytest.fixture
def repository(tmp_path, settings):
    settings.WATCH_FOLDERS = [str(tmp_path)]
    settings.MOE_DATA_DIR = tmp_path / "data"
    settings.MOE_DATA_DIR.mkdir()
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


@pytest.mark.skipif(shutil.which("git") is None, reason="needs the git program")
class TestRepositories:
    def test_it_is_followed_commit_by_commit(self, repository):
        source = source_of(f"file://{repository}", "git")
        assert looked(source).sentence == "2 new documents."
        assert texts(source) == ["Cats purr.", "Dogs bark."]
        assert set(source.documents.values_list("source", flat=True)) == {"handbook/cat.md", "handbook/docs/dog.md"}
        assert looked(source).sentence == "Nothing had changed."
        commit(repository, **{"cat.md": "Cats hiss.", "cow.md": "Cows moo."})
        assert looked(source).sentence == "1 new documents, 1 changed ones."
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
        assert looked(source).sentence == "1 changed ones."

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

    def test_over_http_git_goes_to_the_address_that_was_checked(self, repository, settings):
        """A server of git's dumb protocol: plain files. The name in the address is known to nobody but to curl."""
        git(repository, "repack", "-ad", "--quiet")
        git(repository, "update-server-info")

        async def main():
            async with website() as web:
                for path in (repository / ".git").rglob("*"):
                    if path.is_file():
                        web.put(f"/h.git/{path.relative_to(repository / '.git')}", path.read_bytes())
                settings.FETCH_ALLOWED_HOSTS = ["127.0.0.1"]
                source = await in_thread(source_of)(f"http://127.0.0.1:{web.port}/h.git", "git")
                found = await looked_at(source, bench)
                return source, found, web.asked

        bench = Bench()
        source, found, asked = asyncio.run(main())
        # A dumb server knows nothing of shallow fetches; that it was asked, and why not, is told.
        assert asked
        assert found.sentence == "2 new documents." or "git failed" in found.error
        run_all(source, bench)

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
        assert looked(source).sentence == "2 new documents."


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
        assert looked(good).sentence == "2 new documents."

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
        source = source_of(folder)
        call_command("watch")
        assert f"{source.pk}  folder  {folder}  → handbook: not looked at yet" in capsys.readouterr().out
        call_command("watch", source.pk, "--dry-run")
        assert "new: 2" in capsys.readouterr().out
        assert not Document.objects.exists()
        call_command("watch", source.pk)
        assert "2 new documents." in capsys.readouterr().out
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
