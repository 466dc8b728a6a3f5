"""OpenAI's Python SDK on files and vector stores in a running installation, and that deleted content is nowhere."""

import openai
import pytest

from tests.scripted import Reply

pytestmark = pytest.mark.served

LEAVE = "Sick leave is approved by the team lead. A doctor's note is needed from the fourth day."
TRAVEL = "Trains are booked by the office. Flights need the approval of the director."
SECRET = "The password of the coffee machine is zanzibar."
STATIC = {"type": "static", "static": {"max_chunk_size_tokens": 100, "chunk_overlap_tokens": 20}}


@pytest.fixture
def client(served_ollama):
    return served_ollama.client(default_headers={"OpenAI-Beta": "assistants=v2"})


@pytest.fixture
def store(client):
    row = client.vector_stores.create(name="Handbook", metadata={"team": "people"})
    yield row
    for one in client.vector_stores.list():
        client.vector_stores.delete(one.id)
    for one in client.files.list():
        client.files.delete(one.id)


def text(name, words):
    return (name, words.encode(), "text/markdown")


def asked(ollama):
    """Return what the model was asked last, as it was sent."""
    return ollama.requests_to("/api/chat")[-1].body.decode()


def test_a_store_is_filled_searched_changed_and_deleted(client, store):
    assert (store.object, store.name, store.status, store.metadata) == (
        *("vector_store", "Handbook", "completed"),
        {"team": "people"},
    )
    files = [text("leave.md", LEAVE), text("travel.md", TRAVEL)]
    batch = client.vector_stores.file_batches.upload_and_poll(store.id, files=files)
    assert (batch.status, batch.file_counts.completed, batch.file_counts.total) == ("completed", 2, 2)

    file = client.files.create(file=text("pets.md", "Dogs stay at home on Mondays."), purpose="assistants")
    added = client.vector_stores.files.create_and_poll(
        file.id, vector_store_id=store.id, attributes={"topic": "pets", "year": 2024.5}, chunking_strategy=STATIC
    )
    assert (added.status, added.attributes, added.last_error) == ("completed", {"topic": "pets", "year": 2024.5}, None)
    assert added.chunking_strategy.static.max_chunk_size_tokens == 100
    again = client.vector_stores.files.create_and_poll(file.id, vector_store_id=store.id)
    assert (again.status, client.vector_stores.retrieve(store.id).file_counts.total) == ("completed", 3)

    best = client.vector_stores.search(store.id, query="Who approves sick leave?", max_num_results=2).data[0]
    assert (best.filename, best.content[0].text) == ("leave.md", LEAVE)
    assert 0 < best.score <= 1
    later = {"type": "and", "filters": [{"type": "gt", "key": "year", "value": 2024}]}
    found = client.vector_stores.search(store.id, query="approval", filters=later)
    assert [one.filename for one in found] == ["pets.md"]

    client.vector_stores.files.update(file.id, vector_store_id=store.id, attributes={"year": 2020})
    assert client.vector_stores.search(store.id, query="approval", filters=later).data == []
    assert len(list(client.vector_stores.files.list(store.id, limit=1, filter="completed"))) == 3
    (page,) = client.vector_stores.files.content(file.id, vector_store_id=store.id)
    assert page.text == "Dogs stay at home on Mondays."

    changed = client.vector_stores.update(store.id, name="New", expires_after={"anchor": "last_active_at", "days": 3})
    assert (changed.name, changed.expires_after.days) == ("New", 3)
    assert client.vector_stores.delete(store.id).deleted
    with pytest.raises(openai.NotFoundError) as error:
        client.vector_stores.retrieve(store.id)
    assert error.value.code == "vector_store_not_found"


def test_a_loop_over_a_list_may_delete_what_it_is_given(client, store):
    for number in range(5):
        client.vector_stores.create(name=f"Store {number}")
    for one in client.vector_stores.list(limit=2):
        assert client.vector_stores.delete(one.id).deleted
    assert client.vector_stores.list().data == []


def test_a_chat_is_grounded_in_a_store(client, store, ollama):
    client.vector_stores.file_batches.upload_and_poll(store.id, files=[text("leave.md", LEAVE)])
    ollama.reply(Reply(content="The team lead [1]."))
    client.chat.completions.create(
        model="general",
        messages=[{"role": "user", "content": "Who approves sick leave?"}],
        extra_body={"rag": {"collections": [store.id]}},
    )
    assert LEAVE in asked(ollama)


def test_deleted_content_is_nowhere_from_the_moment_it_is_answered(client, served_ollama, store, ollama):
    other = client.vector_stores.create(name="Other")
    file = client.files.create(file=text("secret.md", SECRET), purpose="assistants")
    for row in (store, other):
        client.vector_stores.files.create_and_poll(file.id, vector_store_id=row.id)
        client.vector_stores.file_batches.upload_and_poll(row.id, files=[text("leave.md", LEAVE)])
    http = served_ollama.http()
    document = http.get("/v1/rag/search", params={"query": "coffee zanzibar"}).json()["results"][0]["document"]

    assert client.files.delete(file.id).deleted
    for row in (store, other):
        results = client.vector_stores.search(row.id, query="coffee machine zanzibar")
        assert "zanzibar" not in results.to_json().replace('"coffee machine zanzibar"', "")
    assert "password" not in http.get("/v1/rag/search", params={"query": "coffee machine zanzibar"}).text
    for path in ("", "/chunks", "/content"):
        assert http.get(f"/v1/rag/documents/{document}{path}").status_code == 404
    for path in (
        f"/v1/files/{file.id}",
        f"/v1/files/{file.id}/content",
        f"/v1/vector_stores/{store.id}/files/{file.id}",
    ):
        assert http.get(path).status_code == 404
    ollama.reply(Reply(content="I do not know."))
    client.chat.completions.create(
        model="general",
        messages=[{"role": "user", "content": "What is the password of the coffee machine?"}],
        extra_body={"rag": {"collections": [store.id, other.id]}},
    )
    assert "zanzibar" not in asked(ollama)


def test_a_large_file_is_one_and_not_more_than_that(client, store):
    with pytest.raises(openai.APIStatusError) as error:
        client.files.create(file=("large.txt", b"x" * (33 * 1024 * 1024)), purpose="assistants")
    assert error.value.status_code == 413
    data = b"word " * 2_000_000
    file = client.files.create(file=("large.txt", data), purpose="user_data")
    assert (file.bytes, client.files.content(file.id).read() == data) == (len(data), True)
    assert client.files.wait_for_processing(file.id).status == "processed"


def test_without_a_key_there_is_nothing(served_ollama):
    stranger = served_ollama.client(api_key="sk-moe-nothing")
    for call in (
        lambda: stranger.files.list(),
        lambda: stranger.vector_stores.list(),
        lambda: stranger.vector_stores.search("vs_1", query="x"),
        lambda: stranger.files.create(file=b"x", purpose="assistants"),
    ):
        with pytest.raises(openai.AuthenticationError):
            call()
