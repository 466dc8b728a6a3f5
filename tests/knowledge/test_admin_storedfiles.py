"""Uploaded files in the admin: whose they are, where they are, and that they go with everything made of them."""

import pytest
from django.urls import reverse

from gateway.models import ApiKey
from knowledge.access import Access
from knowledge.filing import file_receive
from knowledge.models import Document, StoredFile
from knowledge.storedfiles import file_store
from tests.knowledge.rows import collection_of, signed_in, words_of

LIST = "admin:knowledge_storedfile_changelist"


@pytest.fixture
def file(db):
    key, _ = ApiKey.objects.issue(name="Open WebUI", group="people")
    access = Access(key_id=key.pk, group="people")
    row = file_store(name="leave.md", purpose="assistants", data=b"Sick leave.", access=access)
    file_receive(collection=collection_of("handbook"), file=row)
    return row


def test_the_list_says_whose_they_are_and_where(client, file):
    page = words_of(signed_in(client, "view_storedfile").get(reverse(LIST)))
    for words in ("leave.md", "Open WebUI", "people", "handbook", "11 bytes"):
        assert words in page


def test_one_cannot_be_changed(client, file):
    page = words_of(
        signed_in(client, "view_storedfile").get(reverse("admin:knowledge_storedfile_change", args=[file.pk]))
    )
    assert file.public_id in page
    assert "Save" not in page


def test_deleting_one_says_what_goes_with_it_and_does_so(client, file):
    http = signed_in(client, "view_storedfile", "delete_storedfile", "delete_document")
    address = reverse("admin:knowledge_storedfile_delete", args=[file.pk])
    asked = words_of(http.get(address))
    assert "documents made of them: 1" in asked.lower()
    http.post(address, {"post": "yes"})
    assert not StoredFile.objects.exists()
    assert not Document.objects.exists()


def test_several_are_deleted_together(client, file):
    http = signed_in(client, "view_storedfile", "delete_storedfile", "delete_document")
    http.post(reverse(LIST), {"action": "delete_selected", "_selected_action": [file.pk], "post": "yes"})
    assert not StoredFile.objects.exists()


def test_whoever_may_not_delete_documents_cannot_delete_their_file(client, file):
    http = signed_in(client, "view_storedfile", "delete_storedfile")
    http.post(reverse("admin:knowledge_storedfile_delete", args=[file.pk]), {"post": "yes"})
    assert StoredFile.objects.exists()
