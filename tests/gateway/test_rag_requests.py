"""What clients send to be ingested and searched for, and what they are told when it makes no sense."""

import base64
import json
from urllib.parse import quote

import pytest

from gateway.errors import UnsupportedMediaType
from gateway.ragapi.incoming import LONGEST_WAIT, USUAL_WAIT, parse_ingest
from gateway.ragapi.searching import parse_query, parse_search, search_object
from knowledge.passages import Fusion, Mode, Passage, Retrieval, SearchRequest, Step
from routing.exceptions import BadRequest

JSON = "application/json"
FORM = "multipart/form-data; boundary=BOUNDARY"
PDF = b"%PDF-1.7\x00\xff"


def ingest(**body):
    return parse_ingest(json.dumps(body).encode(), JSON)


def form(*parts):
    """Return a form; each part is a name and a value, or a name, a file's name, its type and its bytes."""
    pieces = []
    for name, *rest in parts:
        if len(rest) == 1:
            head, value = f'Content-Disposition: form-data; name="{name}"', str(rest[0]).encode()
        else:
            file, mime, value = rest
            head = f'Content-Disposition: form-data; name="{name}"; filename="{file}"\r\nContent-Type: {mime}'
        pieces.append(f"--BOUNDARY\r\n{head}\r\n\r\n".encode() + value + b"\r\n")
    return b"".join([*pieces, b"--BOUNDARY--\r\n"])


def uploaded(*parts):
    return parse_ingest(form(*parts), FORM)


class TestDocuments:
    def test_the_originals_shape(self):
        request = ingest(documents=[{"content": "Cats purr.", "metadata": {"topic": "cats"}, "collection": "pets"}])
        (item,) = request.items
        assert (item.place, item.collection) == ("documents[0]", "pets")
        incoming = item.incoming
        assert (incoming.data, incoming.metadata, incoming.mime) == (b"Cats purr.", {"topic": "cats"}, "text/plain")
        assert (incoming.origin, request.wait, request.ignored) == ("text", USUAL_WAIT, ())

    def test_a_text_without_a_source_is_known_by_what_it_says(self):
        sources = [one.incoming.source for one in ingest(documents=[{"content": text} for text in "abb"]).items]
        assert sources[0].startswith("text:")
        assert sources[0] != sources[1] == sources[2]

    def test_what_is_said_of_all_holds_for_those_that_say_nothing(self):
        documents = [{"content": "a"}, {"content": "b", "metadata": {"year": 2}, "language": "fr", "collection": "x"}]
        first, second = ingest(
            documents=documents, collection="all", language="de", metadata={"year": 1, "by": "Jo"}
        ).items
        assert (first.collection, first.incoming.language) == ("all", "de")
        assert first.incoming.metadata == {"year": 1, "by": "Jo"}
        assert (second.collection, second.incoming.language) == ("x", "fr")
        assert second.incoming.metadata == {"year": 2, "by": "Jo"}

    def test_a_file_in_base64(self):
        (item,) = ingest(documents=[{"content_base64": base64.b64encode(PDF).decode(), "name": "x.pdf"}]).items
        assert (item.incoming.data, item.incoming.source, item.incoming.name) == (PDF, "x.pdf", "x.pdf")
        assert (item.incoming.mime, item.incoming.origin) == ("", "upload")

    def test_a_text_with_a_name_is_what_its_name_says(self):
        (item,) = ingest(documents=[{"content": "# Cats", "name": "cats.md", "source": "s", "title": "Cats"}]).items
        assert (item.incoming.name, item.incoming.mime, item.incoming.title) == ("cats.md", "", "Cats")

    def test_half_of_a_character_is_no_reason_to_fail(self):
        assert ingest(documents=[{"content": "a \ud83d b"}]).items[0].incoming.data == b"a ? b"

    def test_what_nobody_reads_is_named(self):
        request = ingest(documents=[{"content": "a", "chunk_size": 5}], user="x")
        assert request.ignored == ("user", "documents.chunk_size")

    def test_addresses_and_sitemaps_are_not_waited_for(self):
        request = ingest(urls=["https://a.example/x", "https://a.example/x"], sitemap="https://a.example/sitemap.xml")
        assert (request.urls, request.sitemap) == (("https://a.example/x",), "https://a.example/sitemap.xml")
        assert (request.collection, request.wait) == ("default", 0)

    @pytest.mark.parametrize(
        ("wait", "seconds"), [(True, USUAL_WAIT), (False, 0), (0, 0), (2.5, 2.5), (LONGEST_WAIT, LONGEST_WAIT)]
    )
    def test_how_long_to_wait(self, wait, seconds):
        assert ingest(urls=["https://a.example"], wait=wait).wait == seconds

    @pytest.mark.parametrize(
        ("body", "param", "words"),
        [
            ({}, "documents", "nothing to ingest"),
            ({"documents": []}, "documents", "nothing to ingest"),
            ({"documents": "text"}, "documents", "must be a list"),
            ({"documents": [{"content": "a"}] * 1001}, "documents", "1,000 are the most"),
            ({"documents": ["text"]}, "documents[0]", "must be an object"),
            ({"documents": [{"content": "a"}, {}]}, "documents[1].content", "either 'content'"),
            ({"documents": [{"content": "a", "content_base64": "YQ=="}]}, "documents[0].content", "either"),
            ({"documents": [{"content": 5}]}, "documents[0].content", "must be a text"),
            ({"documents": [{"content": " \n"}]}, "documents[0].content", "is empty"),
            ({"documents": [{"content_base64": "%"}]}, "documents[0].content_base64", "not valid base64"),
            ({"documents": [{"content": "a", "metadata": "x"}]}, "documents[0].metadata", "must be an object"),
            ({"documents": [{"content": "a", "collection": "a b"}]}, "documents[0].collection", "letters, digits"),
            ({"documents": [{"content": "a", "language": "German"}]}, "documents[0].language", "two or three letters"),
            ({"documents": [{"content": "a", "url": "ftp://x"}]}, "documents[0].url", "http://"),
            ({"documents": [{"content": "a", "source": "x" * 1001}]}, "documents[0].source", "1,000 are the most"),
            ({"documents": [{"content": "a", "title": "\0"}]}, "documents[0].title", "NUL"),
            (
                {"documents": [{"content": "a", "source": "s"}, {"content": "b", "source": "s"}]},
                "documents[1].source",
                "twice, with different contents",
            ),
            ({"urls": "https://a.example"}, "urls", "must be a list"),
            ({"urls": ["https://a.example", "x"]}, "urls[1]", "http://"),
            ({"urls": [5]}, "urls[0]", "http://"),
            ({"sitemap": "x"}, "sitemap", "http://"),
            ({"urls": ["https://a.example"], "wait": 301}, "wait", "0 to 300"),
            ({"urls": ["https://a.example"], "wait": "long"}, "wait", "0 to 300"),
            ({"urls": ["https://a.example"], "collection": "x" * 101}, "collection", "at most 100"),
            ({"urls": ["https://a.example"], "metadata": {"a": float("nan")}}, "metadata", "NaN"),
            ({"urls": ["https://a.example"], "metadata": {"a": [[[[[[[[1]]]]]]]]}}, "metadata", "nested too deeply"),
        ],
        ids=lambda value: str(value)[:60],
    )
    def test_what_makes_no_sense_is_named(self, body, param, words):
        with pytest.raises(BadRequest) as caught:
            ingest(**body)
        assert (caught.value.param, caught.value.code) == (param, "invalid_value")
        assert words in caught.value.message

    @pytest.mark.parametrize("body", [b"{", b"", b"[]", b'"x"'])
    def test_what_is_no_object(self, body):
        with pytest.raises(BadRequest, match="JSON"):
            parse_ingest(body, JSON)

    def test_another_type_of_body(self):
        with pytest.raises(UnsupportedMediaType, match="multipart/form-data"):
            parse_ingest(b"a", "text/plain")


class TestForms:
    def test_several_files_at_once(self):
        request = uploaded(
            ("file", "a.md", "text/markdown", b"# A"),
            ("files", "b.pdf", "application/pdf", PDF),
            ("collection", "handbook"),
            ("metadata", '{"year": 2024}'),
            ("language", "de"),
            ("colour", "red"),
        )
        assert [(one.place, one.incoming.source, one.incoming.data) for one in request.items] == [
            ("file", "a.md", b"# A"),
            ("files", "b.pdf", PDF),
        ]
        assert {one.collection for one in request.items} == {"handbook"}
        assert request.items[1].incoming.metadata == {"year": 2024}
        assert (request.items[0].incoming.language, request.wait, request.ignored) == ("de", 0, ("colour",))

    def test_one_file_with_what_is_said_of_it(self):
        request = uploaded(
            ("file", "a.md", "text/markdown", b"# A"),
            ("source", "docs/a.md"),
            ("title", "A"),
            ("url", "https://x.example/a"),
            ("wait", "2.5"),
        )
        incoming = request.items[0].incoming
        assert (incoming.source, incoming.name, incoming.title) == ("docs/a.md", "a.md", "A")
        assert (incoming.url, request.wait) == ("https://x.example/a", 2.5)

    def test_a_path_in_a_name_leads_nowhere(self):
        (item,) = uploaded(("file", "../../etc/passwd", "text/plain", b"root")).items
        assert (item.incoming.name, item.incoming.source) == ("passwd", "passwd")

    def test_a_large_file_arrives_whole(self):
        data = bytes(range(256)) * 12_000
        (item,) = uploaded(("file", "a.bin", "application/octet-stream", data)).items
        assert item.incoming.data == data

    @pytest.mark.parametrize(
        ("parts", "param", "words"),
        [
            ([("collection", "x")], "file", "holds no file"),
            ([("document", "a.md", "text/plain", b"a")], "document", "Send files as 'file'"),
            ([("file", "a.md", "text/plain", b"a"), ("metadata", "{")], "metadata", "no JSON"),
            ([("file", "a.md", "text/plain", b"a"), ("metadata", "[]")], "metadata", "must be an object"),
            ([("file", "a.md", "text/plain", b"a"), ("wait", "long")], "wait", "0 to 300"),
            ([("file", f"{n}.md", "text/plain", b"a") for n in "ab"] + [("title", "T")], "title", "one file only"),
            ([("file", "a.md", "text/plain", data) for data in (b"a", b"b")], "file", "twice"),
            ([("file", "a.md", "text/plain", b"a"), ("collection", "a b")], "collection", "letters"),
        ],
        ids=lambda value: str(value)[:60],
    )
    def test_what_makes_no_sense_is_named(self, parts, param, words):
        with pytest.raises(BadRequest) as caught:
            uploaded(*parts)
        assert caught.value.param == param
        assert words in caught.value.message

    @pytest.mark.parametrize("content_type", ["multipart/form-data", "multipart/form-data; boundary=" + "x" * 300])
    def test_a_form_that_cannot_be_read(self, content_type):
        with pytest.raises(BadRequest, match="cannot be read"):
            parse_ingest(form(("file", "a.md", "text/plain", b"a")), content_type)

    def test_too_many_files(self):
        with pytest.raises(BadRequest, match="cannot be read"):
            uploaded(*(("file", f"{number}.md", "text/plain", b"a") for number in range(101)))


class TestSearch:
    def test_the_originals_parameters(self):
        request, ignored = parse_query(b"query=who%20purrs&collection=pets&top_k=3")
        assert request == SearchRequest(query="who purrs", collections=("pets",), top_k=3)
        assert ignored == []

    def test_an_address_and_a_body_say_the_same(self):
        filters = {"type": "gte", "key": "year", "value": 2024}
        body = {
            "query": "q",
            "collections": ["a", "b"],
            "mode": "vector",
            "fusion": "rrf",
            "vector_weight": 0.5,
            "filters": filters,
            "threshold": 0.25,
            "neighbours": 1,
            "rerank": False,
            "top_k": 7,
            "user": "x",
        }
        address = (
            "query=q&collection=a&collection=b&mode=vector&fusion=rrf&vector_weight=0.5&threshold=0.25&neighbours=1"
            f"&rerank=false&top_k=7&user=x&filters={quote(json.dumps(filters))}"
        )
        asked = parse_query(address.encode())
        assert asked == parse_search(json.dumps(body).encode())
        assert asked[0] == SearchRequest(
            query="q",
            collections=("a", "b"),
            top_k=7,
            mode=Mode.VECTOR,
            fusion=Fusion.RRF,
            vector_weight=0.5,
            filters=filters,
            threshold=0.25,
            neighbours=1,
            rerank=False,
        )
        assert asked[1] == ["user"]

    def test_a_collection_and_a_list_of_them_add_up(self):
        assert parse_search(b'{"query": "q", "collection": "a", "collections": ["b", "a"]}')[0].collections == (
            "a",
            "b",
        )

    @pytest.mark.parametrize(
        ("query", "param", "words"),
        [
            ("", "query", "is missing"),
            ("top_k=3", "query", "is missing"),
            ("query=q&top_k=0", "top_k", "from 1 to 200"),
            ("query=q&top_k=2.5", "top_k", "whole number"),
            ("query=q&top_k=many", "top_k", "whole number"),
            ("query=q&threshold=2", "threshold", "from 0 to 1"),
            ("query=q&neighbours=6", "neighbours", "from 0 to 5"),
            ("query=q&mode=fuzzy", "mode", "hybrid, vector, text"),
            ("query=q&fusion=x", "fusion", "normalised, rrf"),
            ("query=q&rerank=perhaps", "rerank", "true or false"),
            ("query=q&filters=%7B", "filters", "not valid JSON"),
            ("query=q&filters=5", "filters", "must be an object"),
            ("query=%FF", "query", "UTF-8"),
            ("query=a%00", "query", "no text can have"),
            ("query=q&collection=%00", "collections", "list of collections"),
            ("query=q" + "&collection=a" * 201, "query", "cannot be read"),
            ("query=q" + "".join(f"&collection=c{number}" for number in range(51)), "collections", "50 are the most"),
        ],
        ids=lambda value: value[:40],
    )
    def test_what_makes_no_sense_is_named(self, query, param, words):
        with pytest.raises(BadRequest) as caught:
            parse_query(query.encode())
        assert caught.value.param == param
        assert words in caught.value.message

    def test_the_answer(self):
        passage = Passage(
            chunk=1, document=2, revision=3, ordinal=0, collection="pets", title="Cats", source="cats.md",
            text="Cats purr.", score=0.9, similarity=0.71234567, metadata={"topic": "cats"},
        )  # fmt: skip
        found = Retrieval(
            query="q", passages=(passage,), collections=("pets",), strength=0.7, notes=("n",),
            steps=(Step(name="vectors", milliseconds=1.23456, result="5"),),
        )  # fmt: skip
        told = search_object(found)
        (result,) = told["results"]
        original = {"content", "metadata", "collection", "similarity_score"}
        assert {name: result[name] for name in original} == {
            "content": "Cats purr.", "metadata": {"topic": "cats"}, "collection": "pets", "similarity_score": 0.712346
        }  # fmt: skip
        assert (result["document"], result["revision"], result["heading"]) == (2, 3, None)
        assert told["steps"] == [{"step": "vectors", "milliseconds": 1.235, "result": "5"}]

    def test_where_meaning_was_not_looked_at_the_score_stands_for_the_similarity(self):
        passage = Passage(
            chunk=1, document=2, revision=3, ordinal=0, collection="c", title="", source="", text="", score=0.4
        )
        (result,) = search_object(Retrieval(query="q", passages=(passage,)))["results"]
        assert result["similarity_score"] == 0.4
