"""The page behind a citation: what was cited, as it was then, for whoever has the link."""

import pytest
from django.utils import timezone

from gateway.http import HttpConsumer
from gateway.models import ApiKey
from gateway.sources import linked, token_of
from knowledge.models import Chunk, Collection, Document, DocumentRevision, EmbeddingModel, Grant, StoredContent
from knowledge.packing import Source
from knowledge.passages import Passage
from tests.gateway.test_http import Connection

EVIL = "<script>alert(1)</script> & <img src=x onerror=alert(2)>"


@pytest.fixture
def document(db):
    model, _ = EmbeddingModel.objects.get_or_create(name="test", defaults={"dimensions": 3})
    collection = Collection.objects.create(slug="handbook-test", name="The handbook", embedding_model=model)
    return Document.objects.create(
        collection=collection, source="leave.md", title="Leave", url="https://intranet.example/leave", revision=1
    )


def revised(document, number, *texts, title="Leave", **fields):
    """Give ``document`` a revision of these texts, and return its chunks."""
    content, _ = StoredContent.objects.get_or_create(sha256="0" * 64, defaults={"data": b"", "size": 0})
    chunks = [
        Chunk.objects.create(
            collection=document.collection,
            document=document,
            revision=number,
            ordinal=place,
            text=text,
            hash="",
            **{"heading": "Sick days", "page": place + 1} | fields,
        )
        for place, text in enumerate(texts)
    ]
    DocumentRevision.objects.create(
        document=document,
        number=number,
        content=content,
        name="leave.md",
        title=title,
        chunk_ids=[chunk.pk for chunk in chunks],
    )
    document.revision = number
    document.save()
    return chunks


def page(client, document, number, *chunks):
    return client.get(f"/sources/{token_of(document.pk, number, tuple(chunk.pk for chunk in chunks), key_id=None)}")


def body(response):
    return response.content.decode()


class TestThePage:
    def test_shows_what_was_cited_among_its_neighbours(self, client, document):
        _, cited, _ = revised(document, 1, "The first.", "The cited one.", "The last.")
        response = page(client, document, 1, cited)
        assert response.status_code == 200
        text = body(response)
        assert text.index("The first.") < text.index("The cited one.") < text.index("The last.")
        assert text.count('class="text cited"') == 1
        marked = text[text.index('class="text cited"') :]
        assert marked.index("The cited one.") < marked.index("</div>")
        for told in ('<h1 dir="auto">Leave</h1>', "The handbook", "revision 1", "Page 2", "https://intranet.example"):
            assert told in text
        assert text.count("<h2") == 1  # the heading they share

    def test_needs_no_key_and_is_kept_by_nobody(self, client, document):
        (chunk,) = revised(document, 1, "Text.")
        response = page(client, document, 1, chunk)
        assert response["Cache-Control"] == "private, no-store"
        assert response["Referrer-Policy"] == "no-referrer"
        assert response["X-Robots-Tag"] == "noindex"

    def test_what_a_document_holds_cannot_do_anything(self, client, document):
        (chunk,) = revised(document, 1, EVIL, title=EVIL, heading=EVIL)
        document.url = "javascript:alert(3)"
        document.save()
        response = page(client, document, 1, chunk)
        assert "<script" not in body(response)
        assert "<img" not in body(response)
        assert "javascript:" not in body(response)
        assert response["Content-Security-Policy"].startswith("default-src 'none'; style-src 'unsafe-inline'")
        assert response["X-Frame-Options"] == "DENY"

    def test_several_cited_chunks_are_marked_and_what_they_share_is_there_once(self, client, document):
        shared = "and this sentence stands at the end of one and the beginning of the next."
        chunks = revised(document, 1, f"One {shared}", f"{shared} Two.", "Three.")
        text = body(page(client, document, 1, *chunks[:2]))
        assert text.count('class="text cited"') == 2
        assert text.count(shared) == 1
        assert text.count('id="cited"') == 1

    def test_a_long_document_is_shown_around_what_was_cited(self, client, document):
        chunks = revised(document, 1, *(f"Chunk number {number}." for number in range(50)))
        text = body(page(client, document, 1, chunks[25]))
        assert "Chunk number 15." in text
        assert "Chunk number 35." in text
        assert "Chunk number 14." not in text
        assert "Chunk number 36." not in text

    def test_is_of_the_revision_that_was_cited(self, client, document):
        (old,) = revised(document, 1, "Three days.")
        revised(document, 2, "Five days.")
        text = body(page(client, document, 1, old))
        assert "Three days." in text
        assert "Five days." not in text
        assert "has changed since" in text


class TestNoPage:
    @pytest.mark.parametrize("token", ["x", "WzEsMSwxXQ.forged", "WzEsMSwxXQ", "a.b.c", "."])
    def test_for_links_that_are_not_ours(self, client, db, token):
        response = client.get(f"/sources/{token}")
        assert response.status_code == 404
        assert "was changed" in body(response)
        assert "Content-Security-Policy" in response

    def test_for_what_was_altered(self, client, document):
        (chunk,) = revised(document, 1, "Text.")
        token = token_of(document.pk, 1, (chunk.pk,), key_id=None)
        payload, signature = token.rsplit(".", 1)
        other = token_of(document.pk, 1, (chunk.pk + 1,), key_id=None).rsplit(".", 1)[0]
        assert client.get(f"/sources/{other}.{signature}").status_code == 404
        assert client.get(f"/sources/{payload}.{signature}").status_code == 200

    def test_for_what_is_gone(self, client, document):
        (chunk,) = revised(document, 1, "Text.")
        token = token_of(document.pk, 1, (chunk.pk,), key_id=None)
        document.delete()
        response = client.get(f"/sources/{token}")
        assert (response.status_code, "has been deleted" in body(response)) == (404, True)

    def test_for_what_the_key_may_not_read_any_more(self, client, document):
        (chunk,) = revised(document, 1, "Text.")
        key, _ = ApiKey.objects.issue(name="laptop")
        token = token_of(document.pk, 1, (chunk.pk,), key_id=key.pk)
        Collection.objects.update(everyone=Collection.Everyone.NOTHING)
        assert client.get(f"/sources/{token}").status_code == 404
        grant = Grant.objects.create(collection=document.collection, key=key)
        assert client.get(f"/sources/{token}").status_code == 200
        grant.delete()
        response = client.get(f"/sources/{token}")
        assert (response.status_code, "may not be read any more" in body(response)) == (404, True)

    @pytest.mark.parametrize("end", [{"revoked_at": timezone.now()}, {"expires_at": timezone.now()}])
    def test_for_what_a_key_was_narrowed_away_from_before_it_ended(self, client, document, end):
        (chunk,) = revised(document, 1, "Text.")
        key, _ = ApiKey.objects.issue(name="laptop")
        token = token_of(document.pk, 1, (chunk.pk,), key_id=key.pk)
        ApiKey.objects.filter(pk=key.pk).update(**end)
        assert client.get(f"/sources/{token}").status_code == 200
        ApiKey.objects.filter(pk=key.pk).update(allowed_collections=["another-*: read"])
        assert client.get(f"/sources/{token}").status_code == 404

    def test_for_a_chunk_that_is_gone(self, client, document):
        first, second = revised(document, 1, "One.", "Two.")
        token = token_of(document.pk, 1, (first.pk,), key_id=None)
        first.delete()
        assert client.get(f"/sources/{token}").status_code == 404
        assert page(client, document, 1, second).status_code == 200

    def test_for_other_methods(self, client, db):
        assert client.post("/sources/x").status_code == 405


# --- links ------------------------------------------------------------------------------------------------------


class Told(HttpConsumer):
    methods = ("GET",)

    async def handle(self, body):
        await self.send_json(self.site)


async def site(host, *headers, scheme="http"):
    connection = Connection(b"", method="GET")
    connection.scope |= {"scheme": scheme, "headers": [(b"host", host), *headers]}
    await connection.run(Told)
    return connection.body.decode().strip('"')


@pytest.mark.parametrize(
    ("host", "address"),
    [
        (b"localhost:8000", "http://localhost:8000"),
        (b"LOCALHOST", "http://LOCALHOST"),
        (b"[::1]:8000", "http://[::1]:8000"),
        (b"evil.example", ""),
        (b"localhost/evil", ""),
        (b"", ""),
    ],
)
async def test_begin_with_the_name_the_client_used_if_it_is_ours(settings, host, address):
    settings.ALLOWED_HOSTS = ["localhost", "[::1]"]
    assert await site(host) == address


async def test_begin_with_the_scheme_that_moe_site_proxies_found(settings):
    settings.ALLOWED_HOSTS = ["moe.example"]
    assert await site(b"moe.example", (b"x-forwarded-proto", b"https")) == "http://moe.example"
    assert await site(b"moe.example", scheme="https") == "https://moe.example"


def test_name_document_revision_and_chunks():
    cited = Passage(chunk=7, document=5, revision=3, ordinal=0, collection="c", title="t", source="s", text="x")
    source = Source(n=1, passage=cited, chunks=(7, 8), text="x", tokens=1)
    token = token_of(5, 3, (7, 8), key_id=4)
    assert linked("https://moe.example", 4)(source) == f"https://moe.example/sources/{token}"
    assert linked("", None)(source).startswith("/sources/")
