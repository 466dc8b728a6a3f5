"""The admin's pages of ingestion jobs, and what they ask while jobs run, in process."""

import datetime as dt
import uuid

import pytest
from django.utils import timezone

from knowledge.models import Document, IngestionJob, JobState, Stage
from tests.knowledge.rows import collection_of, document_of, job_of, model_of, signed_in, words_of

pytestmark = pytest.mark.django_db

LIST = "/admin/knowledge/ingestionjob/"
PROGRESS = f"{LIST}progress/"
HOSTILE = "<script>alert(1)</script>"
RUNNING = {"state": JobState.RUNNING, "stage": Stage.EMBEDDING, "done": 30, "total": 120, "attempts": 1}
FAILED = {"state": JobState.FAILED, "error_code": "damaged", "error": "The file is damaged."}


@pytest.fixture
def collection():
    return collection_of()


def page_of(job, rest="change"):
    return f"{LIST}{job.pk}/{rest}/"


def batch_page(batch):
    return f"{LIST}batch/{batch}/"


def parts(client, *names):
    response = client.get(PROGRESS, {"part": names})
    assert response.status_code == 200
    assert "no-store" in response["Cache-Control"]
    return response.json()["parts"]


# The list


def test_the_list_tells_how_far_each_is(admin_client, collection, monkeypatch):
    now = timezone.now()
    monkeypatch.setattr(timezone, "now", lambda: now)  # how long a job has been running is told to the second
    job_of(collection, document_of(collection), **RUNNING, started_at=now - dt.timedelta(seconds=75))
    job_of(collection, document_of(collection, "broken.pdf"), **FAILED)
    job_of(collection, url="https://example.org/sitemap.xml", kind="sitemap")
    done = {
        "state": JobState.DONE,
        "result": "updated",
        "started_at": now,
        "finished_at": now + dt.timedelta(seconds=2),
    }
    job_of(collection, document_of(collection, "travel.md"), **done)
    job_of(collection, kind="embedding", embedding_model=model_of("other"))
    job_of(collection, document_of(collection, "late.md"), failures=2, error="The model does not answer.")
    job_of(collection_of("measuring", scratch=True))
    response = admin_client.get(LIST)
    words = words_of(response)
    for expected in (
        "Leave Handbook document embedding 30 of 120 1 min 15 s 1",
        "Broken Handbook document failed The file is damaged.",
        "https://example.org/sitemap.xml Handbook sitemap waiting",
        "Travel Handbook document done, updated 2.0 s 0",
        "all of Handbook Handbook new vectors of a collection waiting",
        "Late Handbook document waiting, to be tried again The model does not answer.",
        "6 ingestion jobs",
    ):
        assert expected in words
    page = response.content.decode()
    assert page.count("data-unfinished") == 4
    assert '<progress max="100" value="25"' in page
    assert "knowledge/progress.js" in page
    assert "<script>" not in page.replace("<script src", "")


def test_the_list_asks_as_much_for_many_as_for_one(admin_client, collection, django_assert_max_num_queries):
    document = document_of(collection)
    for _ in range(30):
        job_of(collection, document)
    with django_assert_max_num_queries(8):
        assert "30 ingestion jobs" in words_of(admin_client.get(LIST))


@pytest.mark.parametrize("query", ["q=leave.md", "q=LEAVE", "state__exact=running", "kind__exact=document"])
def test_the_list_is_searched_and_filtered(admin_client, collection, query):
    job_of(collection, document_of(collection), **RUNNING)
    job_of(collection, url="https://example.org/", kind="sitemap")
    assert "1 ingestion job" in words_of(admin_client.get(f"{LIST}?{query}"))


def test_a_job_and_a_batch_are_found_by_their_ids(admin_client, collection):
    job, _ = job_of(collection), job_of(collection)
    for wanted in (job.pk, job.batch):
        assert "1 ingestion job" in words_of(admin_client.get(f"{LIST}?q={wanted}"))
    assert "0 ingestion jobs" in words_of(admin_client.get(f"{LIST}?q=nothing"))


# Live progress


def test_a_page_asks_how_far_its_jobs_are(admin_client, collection):
    running = job_of(collection, document_of(collection), **RUNNING)
    failed = job_of(collection, document_of(collection, "broken.pdf"), **FAILED | {"error": HOSTILE})
    found = parts(admin_client, f"job-{running.pk}", f"job-{failed.pk}", "job-x", "x", f"job-{uuid.uuid4()}")
    assert set(found) == {f"job-{running.pk}", f"job-{failed.pk}"}
    assert found[f"job-{running.pk}"]["unfinished"] is True
    assert 'value="25"' in found[f"job-{running.pk}"]["html"]
    assert found[f"job-{failed.pk}"]["unfinished"] is False
    assert "&lt;script&gt;" in found[f"job-{failed.pk}"]["html"]
    assert HOSTILE not in found[f"job-{failed.pk}"]["html"]


def test_a_batch_tells_how_much_of_all_is_done(admin_client, collection):
    batch = uuid.uuid4()
    document = document_of(collection)
    job_of(collection, document, batch=batch, state=JobState.DONE)
    job_of(collection, document, batch=batch, **RUNNING)
    job_of(collection, document, batch=batch, **FAILED)
    job_of(collection, document, batch=batch)
    job_of(collection, document)
    part = parts(admin_client, f"batch-{batch}")[f"batch-{batch}"]
    assert part["unfinished"] is True
    assert "<strong>56%</strong> 4 jobs: 1 waiting, 1 running, 1 done, 1 failed." in part["html"]
    IngestionJob.objects.filter(batch=batch).update(state=JobState.DONE)
    part = parts(admin_client, f"batch-{batch}")[f"batch-{batch}"]
    assert part["unfinished"] is False
    assert "<strong>100%</strong> 4 jobs: 4 done." in part["html"]


def test_of_a_large_batch_what_is_to_be_looked_at_comes_first(admin_client, collection):
    batch = uuid.uuid4()
    for number in range(120):
        job_of(collection, url=f"https://example.org/{number}", batch=batch, state=JobState.DONE)
    job_of(collection, url="https://example.org/failed", batch=batch, **FAILED)
    job_of(collection, url="https://example.org/running", batch=batch, **RUNNING)
    words = words_of(admin_client.get(batch_page(batch)))
    assert words.index("example.org/running") < words.index("example.org/failed") < words.index("example.org/0")
    assert "… and 22 more." in words


def test_names_lead_to_documents_for_who_may_see_them(client, collection):
    job = job_of(collection, document_of(collection, title=HOSTILE), **RUNNING)
    signed_in(client, "view_ingestionjob")
    for html in (
        client.get(batch_page(job.batch)).content.decode(),
        parts(client, f"batch-{job.batch}").popitem()[1]["html"],
    ):
        assert "/admin/knowledge/document/" not in html
        assert HOSTILE not in html


# Cancelling, trying again


def test_a_job_is_cancelled(admin_client, collection):
    document = Document.objects.create(collection=collection, source="new.md")
    job = job_of(collection, document)
    assert "Cancel" in words_of(admin_client.get(page_of(job)))
    response = admin_client.post(page_of(job, "work"), {"do": "cancel"}, follow=True)
    assert "Cancelled 1 job." in words_of(response)
    assert "Try again" in words_of(response)
    job.refresh_from_db()
    assert job.state == JobState.CANCELLED
    again = admin_client.post(page_of(job, "work"), {"do": "cancel"}, follow=True)
    assert "There was nothing to cancel." in words_of(again)


def test_what_failed_is_tried_again_in_its_batch(admin_client, collection):
    model = model_of("other")
    failed = [
        job_of(collection, document_of(collection), **FAILED),
        job_of(collection, url="https://example.org/sitemap.xml", kind="sitemap", metadata={"a": 1}, **FAILED),
        job_of(collection, kind="embedding", embedding_model=model, **FAILED),
    ]
    page = Document.objects.create(
        collection=collection, source="https://example.org/", origin="url", metadata={"b": 2}
    )
    failed.append(job_of(collection, page, url="https://example.org/", **FAILED))
    chosen = {"action": "again", "_selected_action": [str(job.pk) for job in failed]}
    assert "Trying 4 jobs again." in words_of(admin_client.post(LIST, chosen, follow=True))
    new = {job.kind + job.url: job for job in IngestionJob.objects.unfinished()}
    assert new["document"].batch == failed[0].batch
    assert new["document"].document == failed[0].document
    assert new["sitemaphttps://example.org/sitemap.xml"].metadata == {"a": 1}
    assert new["embedding"].embedding_model == model
    assert new["documenthttps://example.org/"].document == page
    page.refresh_from_db()
    assert page.metadata == {"b": 2}


def test_what_was_tried_again_already_is_not_once_more(admin_client, collection):
    document = document_of(collection)
    job = job_of(collection, document, **FAILED)
    admin_client.post(page_of(job, "work"), {"do": "again"})
    assert IngestionJob.objects.count() == 2
    response = admin_client.post(page_of(job, "work"), {"do": "again"}, follow=True)
    assert "There was nothing to try again." in words_of(response)
    assert IngestionJob.objects.count() == 2
    assert "Try again" not in words_of(response)


def test_a_batch_is_cancelled_and_tried_again(admin_client, collection):
    batch = uuid.uuid4()
    for name in ("one", "two"):
        job_of(collection, document_of(collection, f"{name}.md"), batch=batch)
    job_of(collection, document_of(collection, "three.md"), batch=batch, state=JobState.DONE)
    response = admin_client.post(batch_page(batch), {"do": "cancel"}, follow=True)
    assert "Cancelled 2 jobs." in words_of(response)
    assert "3 jobs: 1 done, 2 cancelled." in words_of(response)
    response = admin_client.post(batch_page(batch), {"do": "again"}, follow=True)
    assert "Trying 2 jobs again." in words_of(response)
    assert "5 jobs: 2 waiting, 1 done, 2 cancelled." in words_of(response)


def test_what_cannot_be_tried_again_is_told(admin_client, collection):
    document = Document.objects.create(collection=collection, source="lost.md")
    job = job_of(collection, document, **FAILED)
    response = admin_client.post(page_of(job, "work"), {"do": "again"}, follow=True)
    assert "“lost.md”: The document was never there to be read." in words_of(response)


def test_unfinished_jobs_are_not_deleted(admin_client, collection):
    running, done = job_of(collection, **RUNNING), job_of(collection, state=JobState.DONE)
    response = admin_client.post(page_of(running, "delete"), {"post": "yes"}, follow=True)
    assert "is not finished; cancel it first." in words_of(response)
    admin_client.post(page_of(done, "delete"), {"post": "yes"})
    assert list(IngestionJob.objects.all()) == [running]


# Who may


def test_strangers_see_nothing(client, collection):
    job = job_of(collection)
    paths = (LIST, page_of(job), batch_page(job.batch), PROGRESS)
    for path in paths:
        assert client.get(path).status_code == 302
    signed_in(client, "view_document")
    for path in paths:
        assert client.get(path).status_code == 403
    assert client.post(page_of(job, "work"), {"do": "cancel"}).status_code == 403


def test_who_may_only_look_changes_nothing(client, collection):
    job = job_of(collection, document_of(collection))
    signed_in(client, "view_ingestionjob")
    for path in (page_of(job), batch_page(job.batch)):
        words = words_of(client.get(path))
        assert "waiting" in words
        assert "Cancel" not in words
    assert client.post(page_of(job, "work"), {"do": "cancel"}).status_code == 403
    assert client.post(batch_page(job.batch), {"do": "cancel"}).status_code == 403
    client.post(LIST, {"action": "cancel", "_selected_action": [str(job.pk)]})
    assert IngestionJob.objects.get().state == JobState.QUEUED


def test_what_is_not_there_is_not_found(admin_client):
    assert admin_client.get(batch_page(uuid.uuid4())).status_code == 404
    assert admin_client.post(f"{LIST}{uuid.uuid4()}/work/", {"do": "cancel"}).status_code == 404
