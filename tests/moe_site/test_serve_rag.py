"""The knowledge base's REST surface in a running installation: from an upload to what is found, and not any more."""

import json
import time

import httpx
import pytest

pytestmark = pytest.mark.served

HANDBOOK = """# Handbook

## Leave

Sick leave is approved by the team lead. A doctor's note is needed from the fourth day.

## Travel

Trains are booked by the office. Flights need the approval of the director.
"""


@pytest.fixture
def http(served_ollama):
    return served_ollama.http()


@pytest.fixture
def handbook(http):
    """A name of a collection that is gone afterwards."""
    yield "handbook"
    http.delete("/v1/rag/collections/handbook")


def finished(http, job, seconds=60):
    """Return a job when it has ended, and the shares of it that were told until then."""
    deadline, shares = time.monotonic() + seconds, []
    while True:
        told = http.get(f"/v1/rag/jobs/{job}").json()
        shares.append(told["percent"])
        if told["state"] not in ("queued", "running"):
            return told, shares
        assert time.monotonic() < deadline, told
        time.sleep(0.05)


def found(http, collection, query="Who approves sick leave?"):
    answer = http.get("/v1/rag/search", params={"query": query, "collection": collection, "top_k": 3})
    assert answer.status_code == 200, answer.text
    return answer.json()["results"]


def test_from_an_upload_to_what_is_found_and_not_any_more(http, handbook):
    answer = http.post(
        "/v1/rag/ingest",
        files={"file": ("handbook.md", HANDBOOK.encode(), "text/markdown")},
        data={"collection": handbook, "metadata": json.dumps({"year": 2024})},
    )
    told = answer.json()
    assert (answer.status_code, told["success"]) == (202, True)
    job, shares = finished(http, told["jobs"][0])
    assert (job["state"], job["result"], job["error"], job["percent"]) == ("done", "created", None, 100)
    assert shares == sorted(shares)

    best = found(http, handbook)[0]
    assert "approved by the team lead" in best["content"]
    assert (best["source"], best["metadata"], best["collection"]) == ("handbook.md", {"year": 2024}, "handbook")
    assert "Leave" in best["heading"]
    assert 0 < best["similarity_score"] <= 1

    document = told["documents"][0]["id"]
    assert best["document"] == document
    assert http.get(f"/v1/rag/documents/{document}/content").content == HANDBOOK.encode()
    assert http.get(f"/v1/rag/documents/{document}").json()["status"] == "ready"
    assert len(http.get(f"/v1/rag/documents/{document}/chunks").json()["data"]) >= 2
    assert http.get(f"/v1/rag/collections/{handbook}").json()["document_count"] == 1

    assert http.patch(f"/v1/rag/documents/{document}", json={"enabled": False}).status_code == 200
    assert found(http, handbook) == []
    assert http.patch(f"/v1/rag/documents/{document}", json={"enabled": True}).status_code == 200
    assert found(http, handbook)[0]["document"] == document
    assert http.delete(f"/v1/rag/documents/{document}").json()["deleted"] is True
    assert found(http, handbook) == []


def test_the_originals_client_gets_what_it_got(http, handbook):
    documents = [
        {"content": "Cats purr when they are content.", "metadata": {"topic": "cats"}, "collection": handbook},
        {"content": "Dogs bark at strangers.", "metadata": {"topic": "dogs"}, "collection": handbook},
    ]
    answer = http.post("/v1/rag/ingest", json={"documents": documents})
    told = answer.json()
    assert (answer.status_code, told["success"], told["documents_ingested"]) == (200, True, 2)
    assert isinstance(told["message"], str)
    best = found(http, handbook, "Which animal purrs?")[0]
    assert {"content", "metadata", "collection", "similarity_score"} <= best.keys()
    assert (best["content"], best["metadata"]) == (documents[0]["content"], documents[0]["metadata"])
    again = http.post("/v1/rag/ingest", json={"documents": documents})
    assert (again.status_code, again.json()["documents_ingested"], again.json()["jobs"]) == (200, 2, [])


def test_changed_settings_cut_anew_what_is_there(http, handbook):
    long = " ".join(f"Sentence number {number} of the handbook says something of its own." for number in range(60))
    http.post("/v1/rag/ingest", json={"documents": [{"content": long, "collection": handbook}], "wait": 60})
    before = http.get(f"/v1/rag/collections/{handbook}").json()["chunk_count"]
    told = http.patch(f"/v1/rag/collections/{handbook}?reingest=true", json={"chunk_tokens": 64}).json()
    assert (told["outdated_documents"], told["reingest"]["jobs"]) == (1, 1)
    (job,) = http.get("/v1/rag/jobs", params={"batch": told["reingest"]["batch"]}).json()["data"]
    assert finished(http, job["id"])[0]["state"] == "done"
    after = http.get(f"/v1/rag/collections/{handbook}").json()
    assert after["chunk_count"] > before
    assert after["outdated_documents"] == 0


def test_the_resources_answer_errors_as_openai_does(http, served_ollama):
    for method, path, status in [
        ("GET", "collections/nothing", 404),
        ("GET", "documents/1000000", 404),
        ("GET", "jobs/x", 404),
        ("GET", "nothing", 404),
        ("PUT", "collections", 405),
        ("PUT", "search", 405),
        ("GET", "ingest", 405),
        ("POST", "ingest", 400),
        ("GET", "search", 400),
        ("GET", "documents?limit=0", 400),
    ]:
        answer = http.request(method, f"/v1/rag/{path}")
        assert (answer.status_code, answer.headers["content-type"]) == (status, "application/json"), path
        assert answer.json()["error"]["message"]
    for path in ("collections", "documents", "jobs", "search?query=x", "embedding-models"):
        assert httpx.get(f"{served_ollama.url}/v1/rag/{path}").status_code == 401
