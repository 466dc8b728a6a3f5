"""The client of model servers against a scripted one: odd answers end in plain words, never in a hang or a 500."""

import ssl
from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import ClientSession, web
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from routing.backends.client import Timeouts, UpstreamClient
from routing.backends.protocol import Delta, Finish, ServerAddress, ServerKind
from routing.exceptions import Unreachable, UpstreamFailed
from tests.requests import chat_call
from tests.scripted import Reply, ScriptedServer


@pytest.fixture(scope="module")
def scripted():
    with ScriptedServer() as server:
        yield server


@pytest.fixture
async def client():
    client = UpstreamClient(Timeouts(connect=10, first_byte=30, idle=30))
    yield client
    await client.aclose()


async def answer(client, scripted, kind, reply):
    path = "/api/chat" if kind is ServerKind.OLLAMA else "/v1/chat/completions"
    scripted.clear()
    scripted.reply(reply, path=path)
    address = ServerAddress(name="gpu-box", kind=kind, base_url=scripted.url)
    return [event async for event in client.chat(address, chat_call())]


@pytest.mark.parametrize("line", ['{"message":"text"}', '{"message":{"tool_calls":["x"]}}', '{"logprobs":[1]}'])
async def test_an_object_of_another_shape_from_ollama(client, scripted, line):
    with pytest.raises(UpstreamFailed, match="no answer"):
        await answer(client, scripted, ServerKind.OLLAMA, Reply(body=line + "\n"))


@pytest.mark.parametrize("data", ['{"choices":[null]}', '{"choices":[{"delta":"x"}]}', '{"usage":"x"}'])
async def test_an_object_of_another_shape_from_others(client, scripted, data):
    with pytest.raises(UpstreamFailed, match="no answer"):
        await answer(client, scripted, ServerKind.OPENAI, Reply(body=f"data: {data}\n\n"))


async def test_an_answer_that_named_its_finish_is_whole_without_the_last_marker(client, scripted):
    chunk = '{"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":"stop"}]}'
    events = await answer(client, scripted, ServerKind.OPENAI, Reply(body=f"data: {chunk}\n"))
    assert events == [Delta(content="Hi"), Finish(reason="stop")]


async def test_a_model_too_large_for_the_memory_is_not_worth_a_retry(client, scripted):
    reply = Reply(status=500, error="model requires more system memory (9 GiB) than is available")
    with pytest.raises(UpstreamFailed) as caught:
        await answer(client, scripted, ServerKind.OLLAMA, reply)
    assert caught.value.should_retry is False


async def test_addresses_of_the_network_behind_are_not_told(client, scripted):
    reply = Reply(status=500, error="dial tcp 10.0.0.7:11434 via http://inner.example/x failed")
    with pytest.raises(UpstreamFailed) as caught:
        await answer(client, scripted, ServerKind.OLLAMA, reply)
    assert "10.0.0.7" not in caught.value.message
    assert "inner.example" not in caught.value.message


@pytest.fixture
async def secured(tmp_path):
    """A model server over TLS, whose certificate nobody vouches for."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(days=1), now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path / "server.pem"
    plain = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(plain + certificate.public_bytes(Encoding.PEM))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(file)

    async def answer(request):
        return web.json_response({"version": "0.12.6"})

    runner = web.ServerRunner(web.Server(answer, access_log=None))
    await runner.setup()
    site = web.TCPSite(runner, "localhost", 0, ssl_context=context)
    await site.start()
    port = runner.addresses[0][1]
    yield ServerAddress(name="box", base_url=f"https://localhost:{port}", kind=ServerKind.OLLAMA)
    await runner.cleanup()


async def test_a_server_that_nobody_vouches_for_is_told_nothing(client, secured):
    with pytest.raises(Unreachable):
        await client.request_json(secured, "GET", "/api/version", timeout=20)
    async with ClientSession() as careless, careless.get(f"{secured.base_url}/api/version", ssl=False) as answered:
        assert answered.status == 200, "but it is there"
