"""The admin's pages of chunks, in process."""

import pytest

from knowledge.models import Chunk, ChunkState, Collection, Embedding, Posting
from tests.knowledge.rows import collection_of, document_of, signed_in, words_of

pytestmark = pytest.mark.django_db

LIST = "/admin/knowledge/chunk/"
SWITCH = f"{LIST}switch/"
HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture
def document():
    return document_of(collection_of(), texts=[f"Text number {number}." for number in range(6)])


def page_of(chunk):
    return f"{LIST}{chunk.pk}/change/"


def places(response):
    return [chunk.ordinal for chunk in response.context["cl"].result_list]


def test_a_document_s_are_listed_in_reading_order(admin_client, document):
    other = document_of(document.collection, "other.md")
    assert places(admin_client.get(f"{LIST}?document__id__exact={document.pk}")) == [0, 1, 2, 3, 4, 5]
    newest = admin_client.get(LIST)
    assert newest.context["cl"].result_list[0].document == other
    assert "Text number 3. Leave Handbook Chapter 1 4 3 en" in words_of(newest)


def test_earlier_revisions_are_shown_to_who_asks_for_them(admin_client, document):
    Chunk.objects.filter(ordinal=0).update(state=ChunkState.RETIRED)
    assert sorted(places(admin_client.get(LIST))) == [1, 2, 3, 4, 5]
    assert places(admin_client.get(f"{LIST}?state=retired")) == [0]
    assert sorted(places(admin_client.get(f"{LIST}?state=all"))) == [0, 1, 2, 3, 4, 5]
    assert places(admin_client.get(f"{LIST}?state=staged")) == []


def test_they_are_filtered_and_searched(admin_client, document):
    Chunk.objects.filter(ordinal=1).update(enabled=False)
    Chunk.objects.filter(ordinal=2).update(language="de")
    Chunk.objects.filter(ordinal=3).update(language="")
    Collection.objects.update(languages=["de", "en", ""])
    assert places(admin_client.get(f"{LIST}?enabled__exact=0")) == [1]
    assert places(admin_client.get(f"{LIST}?language=de")) == [2]
    assert places(admin_client.get(f"{LIST}?language=-")) == [3]
    assert places(admin_client.get(f"{LIST}?q=number 4")) == [4]


def test_those_of_a_running_evaluation_are_nobody_s_business(admin_client):
    chunk = document_of(collection_of("measuring", scratch=True)).chunks.get()
    assert places(admin_client.get(LIST)) == []
    assert admin_client.get(page_of(chunk)).status_code == 302


def test_the_list_asks_as_much_for_many_as_for_one(admin_client, django_assert_max_num_queries):
    collection = collection_of()
    for number in range(30):
        document_of(collection, f"d{number}.md")
    with django_assert_max_num_queries(10):
        assert len(places(admin_client.get(LIST))) == 30


def test_its_page_tells_where_it_stands_and_what_finds_it(admin_client, document):
    words = words_of(admin_client.get(page_of(document.chunks.get(ordinal=3))))
    for expected in (
        "Leave › Chapter 1 Text number 3.",
        "Place: 4 of 6, since revision 1",
        "Page: 4",
        "Terms: 6 different of 9",
        "Vectors by: all-MiniLM-L6-v2",
        "2 Text number 1. 3 Text number 2. 4 Text number 3. 5 Text number 4. 6 Text number 5.",
    ):
        assert expected in words
    assert "Text number 0." not in words


def test_without_headings_the_text_is_embedded_alone(admin_client, document):
    Collection.objects.update(embed_headings=False)
    assert "Leave › Chapter 1" not in words_of(admin_client.get(page_of(document.chunks.first())))


def test_what_finds_nothing_is_told(admin_client, document):
    Posting.objects.all().delete()
    Embedding.objects.all().delete()
    words = words_of(admin_client.get(page_of(document.chunks.first())))
    assert "none: it is not found by words" in words
    assert "Vectors by: no model yet" in words


def test_texts_are_shown_as_they_are_written(admin_client):
    document = document_of(collection_of(), texts=(HOSTILE,), title=HOSTILE)
    Chunk.objects.update(heading=HOSTILE)
    chunk = document.chunks.get()
    for path in (
        LIST,
        page_of(chunk),
        f"/admin/knowledge/document/{document.pk}/change/",
        "/admin/knowledge/document/",
    ):
        response = admin_client.get(path)
        assert HOSTILE not in response.content.decode()
        assert HOSTILE in words_of(response)


# Switching


def test_a_button_switches_one(admin_client, document):
    chunk = document.chunks.get(ordinal=2)
    response = admin_client.post(SWITCH, {"disable": chunk.pk}, follow=True)
    disabled = Chunk.objects.live().get(ordinal=2)
    assert (disabled.text, disabled.edit.kind) == (chunk.text, "disable")
    assert response.redirect_chain == [(page_of(disabled), 302)]
    assert "Disabled 1 chunk; it is not found any more." in words_of(response)
    assert not disabled.postings.exists()
    assert Collection.objects.get().chunk_count == 5
    back = admin_client.post(SWITCH, {"enable": disabled.pk, "document": document.pk})
    assert back.url == f"/admin/knowledge/document/{document.pk}/change/#chunks"
    assert Chunk.objects.live().get(ordinal=2).postings.exists()
    assert Collection.objects.get().chunk_count == 6


def test_the_selected_are_switched(admin_client, document):
    chosen = [chunk.pk for chunk in document.chunks.filter(ordinal__lt=2)]
    response = admin_client.post(LIST, {"action": "disable", "_selected_action": chosen}, follow=True)
    assert "Disabled 2 chunks." in words_of(response)
    assert set(Chunk.objects.live().filter(enabled=False).values_list("ordinal", flat=True)) == {0, 1}
    chosen = [chunk.pk for chunk in document.chunks.live().filter(ordinal__lt=2)]
    again = admin_client.post(LIST, {"action": "disable", "_selected_action": chosen}, follow=True)
    assert "Disabled 0 chunks." in words_of(again)


@pytest.mark.parametrize(("fields", "status"), [({}, 404), ({"enable": "x"}, 404), ({"disable": 10**30}, 404)])
def test_what_is_not_there_is_not_switched(admin_client, fields, status):
    assert admin_client.post(SWITCH, fields).status_code == status
    assert admin_client.get(SWITCH).status_code == 405


# Who may


def test_strangers_see_nothing(client, document):
    chunk = document.chunks.first()
    for path in (LIST, page_of(chunk)):
        assert client.get(path).status_code == 302
    signed_in(client, "view_document")
    for path in (LIST, page_of(chunk)):
        assert client.get(path).status_code == 403
    assert client.post(SWITCH, {"disable": chunk.pk}).status_code == 403


def test_who_may_only_look_switches_nothing(client, document):
    chunk = document.chunks.first()
    signed_in(client, "view_chunk", "view_document")
    for path in (page_of(chunk), f"/admin/knowledge/document/{document.pk}/change/"):
        words = words_of(client.get(path))
        assert "Text number 0." in words
        assert "Disable" not in words
        assert "Keep from being found" not in words
    assert client.post(SWITCH, {"disable": chunk.pk}).status_code == 403
    client.post(LIST, {"action": "disable", "_selected_action": [chunk.pk]})
    assert Chunk.objects.filter(enabled=True).count() == 6


def test_nobody_writes_or_deletes_them(admin_client, document):
    chunk = document.chunks.first()
    assert admin_client.get(f"{LIST}add/").status_code == 403
    assert admin_client.post(page_of(chunk), {"text": "Mine."}).status_code == 403
    assert admin_client.post(f"{LIST}{chunk.pk}/delete/", {"post": "yes"}).status_code == 403
    assert Chunk.objects.count() == 6
