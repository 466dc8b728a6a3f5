"""Text completions of both kinds of model servers."""

import json

import pytest

from routing.backends.client import Timeouts, UpstreamClient
from routing.backends.generation import CompletionsStream, GenerateStream, TextCall, is_templated, payload
from routing.backends.protocol import Delta, Finish, ServerAddress, ServerKind, Usage
from routing.catalog import Catalog, Expert, Replica
from routing.exceptions import BadRequest, ContextLengthExceeded, UpstreamFailed
from routing.named import to_fill_in
from routing.router import Router
from tests.requests import chat_call, chat_request
from tests.scripted import Reply, ScriptedModel, ScriptedServer

OLLAMA, OPENAI = ServerKind.OLLAMA, ServerKind.OPENAI


def call(prompt="def f(", suffix=None, raw=False, window=None, **fields):
    return TextCall(chat=chat_call(**fields), prompt=prompt, suffix=suffix, raw=raw, window=window)


# What is asked


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, {"raw": False}),
        ({"raw": True}, {"raw": True}),
        ({"suffix": "return"}, {"raw": False, "suffix": "return"}),
        ({"suffix": ""}, {"raw": False}),
        ({"temperature": 0, "stop": "\n", "max_tokens": 9}, {"raw": False, "options": {"temperature": 0, "stop": ["\n"],
                                                                                        "num_predict": 9}}),
        ({"logprobs": True, "top_logprobs": 2}, {"raw": False, "logprobs": True, "top_logprobs": 2}),
        ({"keep_alive": "5m", "num_ctx": 512}, {"raw": False, "keep_alive": "5m", "options": {"num_ctx": 512}}),
        ({"capabilities": {"completion", "thinking"}}, {"raw": False, "think": False}),
        ({"capabilities": {"completion", "thinking"}, "raw": True}, {"raw": True}),
    ],
)  # fmt: skip
def test_to_ollama(asked, expected):
    shared = {"model": "llama3.2:3b", "stream": True, "truncate": False, "shift": False, "prompt": "def f("}
    assert payload(OLLAMA, call(**asked)) == shared | expected


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, {}),
        ({"raw": True}, {}),
        ({"temperature": 0, "stop": "\n"}, {"temperature": 0, "stop": ["\n"]}),
        ({"logprobs": True, "top_logprobs": 2}, {"logprobs": 2}),
        ({"logprobs": True}, {"logprobs": 0}),
        ({"keep_alive": "5m"}, {}),
        ({"num_ctx": 512, "window": 4096}, {}),
        ({"suffix": "return", "capabilities": {"insert"}}, {"suffix": "return"}),
    ],
)
def test_to_others(asked, expected):
    shared = {"model": "llama3.2:3b", "stream": True, "stream_options": {"include_usage": True}, "prompt": "def f("}
    assert payload(OPENAI, call(**asked)) == shared | expected


@pytest.mark.parametrize("capabilities", [None, {"completion"}])
def test_a_suffix_is_not_left_to_a_server_that_may_ignore_it(capabilities):
    with pytest.raises(BadRequest) as caught:
        payload(OPENAI, call(suffix="return", capabilities=capabilities))
    assert caught.value.param == "suffix"


@pytest.mark.parametrize("window", [None, 256])
def test_a_window_that_such_a_server_may_not_have_is_refused(window):
    with pytest.raises(BadRequest, match="num_ctx"):
        payload(OPENAI, call(num_ctx=512, window=window))


@pytest.mark.parametrize(
    ("prompt", "templated"),
    [
        ("<|fim_prefix|>a<|fim_suffix|>b<|fim_middle|>", True),
        ("<fim_prefix>a<fim_suffix>b<fim_middle>", True),
        ("<PRE> a <SUF>b <MID>", True),
        ("[SUFFIX]b[PREFIX]a", True),
        ("<｜fim▁begin｜>a<｜fim▁hole｜>b<｜fim▁end｜>", True),
        ("<|im_start|>user\nHi<|im_end|>", True),
        ("[INST] Hi [/INST]", True),
        ("Once upon a time", False),
        ("if a <b> and c", False),
        ("<pre>text</pre>", False),
        ("x = [prefix]", False),
    ],
)
def test_a_prompt_made_for_the_model_is_known_by_its_control_tokens(prompt, templated):
    assert is_templated(prompt) is templated


# What is answered


def test_ollamas_lines():
    stream = GenerateStream()
    assert stream.feed(b'{"response":"He","done":false}') == [Delta(content="He")]
    assert stream.feed(b'{"response":"","thinking":"hm","done":false}') == [Delta(reasoning="hm")]
    assert stream.feed(b"") == []
    last = b'{"response":"y","done":true,"done_reason":"length","prompt_eval_count":3,"eval_count":2}'
    usage = Usage(prompt_tokens=3, completion_tokens=2)
    assert stream.feed(last) == [Delta(content="y"), Finish(reason="length", usage=usage)]
    assert stream.done


def sse(value):
    return [b"data: " + json.dumps(value).encode(), b""]


def test_openais_events():
    stream, events = CompletionsStream(), []
    lines = [
        b": ping",
        *sse({"choices": [{"index": 0, "text": "He", "finish_reason": None}]}),
        *sse({"choices": [{"index": 0, "text": "y", "finish_reason": "stop"}]}),
        *sse({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}),
        b"data: [DONE]",
        b"",
    ]
    for line in lines:
        events += stream.feed(line)
    usage = Usage(prompt_tokens=3, completion_tokens=2)
    assert events == [Delta(content="He"), Delta(content="y"), Finish(reason="stop", usage=usage)]


@pytest.mark.parametrize("line", [b'{"error":"runner died"}', b"nonsense", b"[1]"])
def test_what_is_no_answer_of_ollamas_is_a_failure(line):
    with pytest.raises(UpstreamFailed):
        GenerateStream().feed(line)


@pytest.mark.parametrize("data", [b'{"error":{"message":"died"}}', b"nonsense", b"[1]"])
def test_what_is_no_answer_of_others_is_a_failure(data):
    stream = CompletionsStream()
    stream.feed(b"data: " + data)
    with pytest.raises(UpstreamFailed):
        stream.feed(b"")


@pytest.mark.parametrize(
    "told",
    [
        {"content": [{"token": "a", "logprob": -1.0, "bytes": [97], "top_logprobs": [
            {"token": "b", "logprob": -2.0, "bytes": [98]}]}]},
        {"tokens": ["a"], "token_logprobs": [-1.0], "top_logprobs": [{"b": -2.0}], "text_offset": [0]},
    ],
    ids=["llama.cpp", "vLLM"],
)  # fmt: skip
def test_both_forms_of_log_probabilities(told):
    stream = CompletionsStream()
    line, end = sse({"choices": [{"index": 0, "text": "a", "logprobs": told}]})
    stream.feed(line)
    (delta,) = stream.feed(end)
    assert delta.logprobs == (
        {"token": "a", "logprob": -1.0, "bytes": [97],
         "top_logprobs": [{"token": "b", "logprob": -2.0, "bytes": [98]}]},
    )  # fmt: skip


# Who answers


def shelf(**capabilities):
    server = ServerAddress(name="box", kind=OLLAMA, base_url="http://box")
    experts = {
        slug: Expert(
            slug=slug,
            replicas=(Replica(server=server, embedded=False, model=slug, capabilities=frozenset(able.split())),),
        )
        for slug, able in capabilities.items()
    }
    return Catalog(experts=experts, models={}, rules=(), default="general")


@pytest.mark.parametrize(
    ("model", "fills", "expert", "needs"),
    [
        ("auto", False, "general", set()),
        ("auto", True, "code", {"insert"}),
        ("code", True, "code", {"insert"}),
        ("general", False, "general", set()),
    ],
)
async def test_a_gap_is_filled_by_who_can(model, fills, expert, needs):
    catalog = shelf(general="completion", code="completion insert")
    decision = await Router().decide(chat_request(model=model), catalog)
    decision = to_fill_in(decision, model, catalog) if fills else decision
    assert (decision.expert.slug, decision.needs) == (expert, needs)


@pytest.mark.parametrize("model", ["auto", "general"])
async def test_a_gap_that_nobody_can_fill_is_refused(model):
    catalog = shelf(general="completion")
    decision = await Router().decide(chat_request(model=model), catalog)
    with pytest.raises(BadRequest) as caught:
        to_fill_in(decision, model, catalog)
    assert caught.value.param == "suffix"


# Over HTTP


@pytest.fixture(scope="module")
def scripted():
    with ScriptedServer([ScriptedModel(name="llama3.2:3b", context_length=16)]) as server:
        yield server


@pytest.fixture
async def generate(scripted):
    client = UpstreamClient(Timeouts(connect=10, first_byte=30, idle=30))

    async def run(kind, asked, reply=None):
        scripted.clear()
        if reply:
            scripted.reply(reply)
        address = ServerAddress(name="box", kind=kind, base_url=scripted.url)
        return [event async for event in client.generate(address, asked)]

    yield run
    await client.aclose()


@pytest.mark.parametrize("kind", [OLLAMA, OPENAI])
async def test_each_kind_answers_alike(generate, kind):
    events = await generate(kind, call(), Reply(content=["Hé", "llo"], split_bytes=1, prompt_tokens=3))
    assert "".join(event.content for event in events if isinstance(event, Delta)) == "Héllo"
    assert (events[-1].reason, events[-1].usage.prompt_tokens) == ("stop", 3)


@pytest.mark.parametrize("kind", [OLLAMA, OPENAI])
async def test_a_prompt_that_does_not_fit_names_the_prompt(generate, kind):
    with pytest.raises(ContextLengthExceeded) as caught:
        await generate(kind, call(prompt="word " * 100))
    assert caught.value.param == "prompt"


@pytest.mark.parametrize("kind", [OLLAMA, OPENAI])
@pytest.mark.parametrize("reply", [Reply(content=["a", "b"], error_after=1), Reply(content=["a"], drop_after=1)])
async def test_an_answer_that_breaks_off_is_a_failure(generate, kind, reply):
    with pytest.raises(UpstreamFailed):
        await generate(kind, call(), reply)
