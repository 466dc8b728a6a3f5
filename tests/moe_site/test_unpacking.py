"""Requests whose bodies arrive packed: every door reads them as if they had not been."""

import asyncio
import gzip
import json
import tracemalloc
import zlib

import httpx
import pytest
from backports import zstd

from gateway.encodings import WINDOW_LOG
from moe_site.unpacking import Unpacked
from tests.gateway.test_http import Connection

BODY = json.dumps({"messages": [{"role": "user", "content": "Who approves sick leave? " * 200}]}).encode()


def raw_deflate(body):
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(body) + packer.flush()


def wide_zstd(body):
    """Pack with a window that takes 128 MiB to unpack."""
    packer = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: WINDOW_LOG + 4})
    return packer.compress(body) + packer.flush()


async def echo(scope, receive, send):
    """Tell the headers and the body that arrive."""
    body, more = b"", True
    while more:
        message = await receive()
        body += message["body"]
        more = message.get("more_body", False)
    headers = [(name.decode(), value.decode()) for name, value in scope["headers"]]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": json.dumps([headers, body.decode()]).encode()})


async def sent(*pieces, encoding, path="/v1/chat/completions", application=echo):
    connection = Connection(*pieces)
    connection.scope["path"] = path
    connection.scope["headers"] += [
        (b"content-encoding", encoding.encode()),
        (b"content-length", str(sum(map(len, pieces))).encode()),
    ]
    async with asyncio.timeout(10):
        await Unpacked(application)(connection.scope, connection.incoming.get, connection.send)
    return connection


def error(connection):
    return json.loads(connection.body)["error"]


def headers(connection):
    return {name.decode(): value.decode() for name, value in connection.sent[0]["headers"]}


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [
        ("gzip", gzip.compress),
        ("x-gzip", gzip.compress),
        ("GZip", gzip.compress),
        ("deflate", zlib.compress),
        ("deflate", raw_deflate),
        ("zstd", zstd.compress),
        ("identity", bytes),
    ],
)
async def test_a_door_gets_the_body_and_its_length(encoding, pack):
    packed = pack(BODY)
    connection = await sent(packed[:30], packed[30:], encoding=encoding)
    told, body = json.loads(connection.body)
    assert body == BODY.decode()
    assert [one for one in told if one[0].startswith("content-")] == [["content-length", str(len(BODY))]]


async def test_several_parts_are_one_body():
    for encoding, packer in (("gzip", gzip.compress), ("zstd", zstd.compress)):
        connection = await sent(packer(BODY[:50]) + packer(BODY[50:]), encoding=encoding)
        assert json.loads(connection.body)[1] == BODY.decode()


async def test_a_body_that_is_not_there_need_not_be_packed():
    assert json.loads((await sent(b"", encoding="gzip")).body)[1] == ""


@pytest.mark.parametrize("encoding", ["br", "compress", "gzip, gzip", "zstd,gzip", "nonsense"])
async def test_what_is_packed_otherwise_is_refused_with_what_is_read(encoding):
    connection = await sent(b"anything", encoding=encoding)
    assert (connection.status, error(connection)["code"]) == (415, "unsupported_content_encoding")
    assert headers(connection)["accept-encoding"] == "gzip, deflate, zstd"
    assert "gzip, deflate, zstd" in error(connection)["message"]
    assert headers(connection)["x-request-id"] == "abc"


@pytest.mark.parametrize(
    ("encoding", "body", "why"),
    [
        ("gzip", BODY, "it is no gzip, or damaged"),
        ("gzip", gzip.compress(BODY)[:-5], "it is cut off"),
        ("deflate", b"\xff" + BODY, "it is no deflate, or damaged"),
        ("zstd", BODY, "it is no zstd, or damaged"),
        ("zstd", zstd.compress(BODY)[:-5], "it is cut off"),
        ("zstd", wide_zstd(BODY), "it is no zstd, or damaged"),
    ],
)
async def test_what_cannot_be_unpacked_is_refused(encoding, body, why):
    connection = await sent(body, encoding=encoding)
    assert (connection.status, error(connection)["type"]) == (400, "invalid_request_error")
    assert why in error(connection)["message"]


@pytest.mark.parametrize(
    ("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress), ("zstd", zstd.compress)]
)
async def test_a_body_may_be_as_large_unpacked_as_one_that_is_not_packed(settings, encoding, pack):
    settings.MAX_BODY_BYTES = len(BODY)
    assert (await sent(pack(BODY), encoding=encoding)).status == 200
    settings.MAX_BODY_BYTES = len(BODY) - 1
    refused = await sent(pack(BODY), encoding=encoding)
    assert (refused.status, error(refused)["code"]) == (413, "request_too_large")


@pytest.mark.parametrize(
    ("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress), ("zstd", zstd.compress)]
)
async def test_a_bomb_is_never_unpacked(settings, encoding, pack):
    settings.MAX_BODY_BYTES = 1_000_000
    bomb = pack(bytes(200_000_000))
    assert len(bomb) < settings.MAX_BODY_BYTES
    tracemalloc.start()
    refused = await sent(bomb, encoding=encoding)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert refused.status == 413
    assert peak < 10_000_000


async def test_a_client_that_leaves_before_its_body_is_there_is_not_answered():
    connection = Connection(b"\x1f\x8b", b"more")
    connection.scope["headers"].append((b"content-encoding", b"gzip"))
    connection.incoming.get_nowait()
    connection.incoming.get_nowait()
    connection.leave()
    await Unpacked(echo)(connection.scope, connection.incoming.get, connection.send)
    assert connection.sent == []


async def test_ollamas_clients_are_told_in_their_own_shape():
    connection = await sent(b"anything", encoding="br", path="/api/chat")
    assert connection.status == 415
    assert "gzip, deflate, zstd" in error(connection)


class TestServed:
    """The whole installation, over the wire."""

    def post(self, served, path, body, *, encoding="zstd", pack=zstd.compress):
        packed = pack(json.dumps(body).encode())
        given = {"Content-Type": "application/json", "Content-Encoding": encoding}
        authorization = {"Authorization": f"Bearer {served.api_key}"}
        return httpx.post(f"{served.url}{path}", content=packed, headers=given | authorization, timeout=60)

    def test_doors(self, served_ollama):
        asked = {"model": "llama3.2:3b", "input": "Hi"}
        for pack, encoding in ((zstd.compress, "zstd"), (gzip.compress, "gzip"), (zlib.compress, "deflate")):
            answer = self.post(served_ollama, "/v1/responses", asked, encoding=encoding, pack=pack)
            assert answer.status_code == 200, answer.text

    def test_rest_views(self, served_ollama):
        answer = self.post(served_ollama, "/v1/vector_stores", {"name": "packed"})
        assert (answer.status_code, answer.json()["name"]) == (200, "packed")

    def test_what_nobody_unpacks(self, served_ollama):
        refused = self.post(served_ollama, "/v1/vector_stores", {"name": "packed"}, encoding="br")
        assert (refused.status_code, refused.headers["accept-encoding"]) == (415, "gzip, deflate, zstd")
