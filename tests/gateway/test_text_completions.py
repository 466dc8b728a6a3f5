"""POST /v1/completions."""

import json

import openai
import pytest

from gateway.chatanswer import Head
from gateway.textanswer import TextCollector, TextWriter, legacy_logprobs
from gateway.textcompletions import text_call
from gateway.textrequest import parse_text
from routing.backends.protocol import Delta, Finish, ServerAddress, ServerKind, Usage
from routing.catalog import Expert, Replica
from routing.exceptions import BadRequest
from tests.scripted import Reply

COMPLETIONS = "/v1/completions"
CODER = "qwen2.5-coder:7b"
HEAD = Head(id="cmpl-1", created=5, model="code")


def parsed(**fields):
    return parse_text(json.dumps({"model": "auto", "prompt": "def f("} | fields).encode())


class TestParsing:
    def test_what_a_text_completion_has_in_common_with_a_chat(self):
        asked = {"temperature": 0, "top_p": 0.5, "max_tokens": 9, "stop": "\n", "seed": 1, "presence_penalty": 1}
        request = parsed(**asked, stream=True, options={"top_k": 3})
        sampling = request.chat.sampling
        assert (sampling.temperature, sampling.top_p, sampling.max_tokens) == (0, 0.5, 9)
        assert (sampling.stop, sampling.seed, sampling.presence_penalty) == (("\n",), 1, 1)
        assert (request.chat.stream, request.chat.model) == (True, "auto")
        assert request.chat.options == {"top_k": 3}

    def test_without_max_tokens_the_models_own_limit_holds(self):
        assert parsed().chat.sampling.max_tokens is None  # OpenAI would stop after 16 tokens

    @pytest.mark.parametrize(
        ("fields", "prompts"),
        [
            ({}, ("def f(",)),
            ({"prompt": ["a", "b"]}, ("a", "b")),
            ({"prompt": ["a", "b"], "n": 2}, ("a", "a", "b", "b")),
        ],
    )
    def test_prompts(self, fields, prompts):
        assert parsed(**fields).prompts == prompts

    @pytest.mark.parametrize(
        ("fields", "raw"),
        [
            ({}, False),
            ({"raw": True}, True),
            ({"prompt": "<|fim_prefix|>a<|fim_suffix|>b<|fim_middle|>"}, True),
            ({"prompt": "<|fim_prefix|>a<|fim_suffix|>b<|fim_middle|>", "raw": False}, False),
            ({"prompt": "# <|fim_prefix|> is a token", "suffix": "x"}, False),
        ],
    )
    def test_no_template_is_put_around_a_prompt_that_has_one(self, fields, raw):
        assert parsed(**fields).raw is raw

    @pytest.mark.parametrize(("suffix", "expected"), [(None, None), ("", None), ("return", "return")])
    def test_suffix(self, suffix, expected):
        assert parsed(suffix=suffix).suffix == expected

    @pytest.mark.parametrize(
        ("fields", "param"),
        [
            ({"prompt": None}, "prompt"),
            ({"prompt": ""}, "prompt"),
            ({"prompt": []}, "prompt"),
            ({"prompt": ["a", ""]}, "prompt"),
            ({"prompt": [1, 2]}, "prompt"),
            ({"prompt": [[1, 2]]}, "prompt"),
            ({"prompt": {}}, "prompt"),
            ({"echo": True}, "echo"),
            ({"best_of": 3}, "best_of"),
            ({"n": 99}, "n"),
            ({"suffix": 5}, "suffix"),
            ({"suffix": "x", "raw": True}, "raw"),
            ({"raw": "yes"}, "raw"),
            ({"logprobs": True}, "logprobs"),
            ({"logprobs": 21}, "logprobs"),
            ({"temperature": 3}, "temperature"),
            ({"logit_bias": {"5": 1}}, "logit_bias"),
            ({"model": None}, "model"),
        ],
    )
    def test_what_is_wrong_is_named(self, fields, param):
        with pytest.raises(BadRequest) as caught:
            parsed(**fields)
        assert caught.value.param == param

    @pytest.mark.parametrize("fields", [{"echo": False, "best_of": 1, "n": 1, "user": "x", "logprobs": None}])
    def test_what_changes_nothing_is_taken(self, fields):
        assert parsed(**fields).prompts == ("def f(",)

    def test_what_nobody_reads_is_named(self):
        assert parsed(user="x", tools=[], system="x", echo=False).chat.ignored == ("tools", "system")


class TestTheCall:
    REPLICA = Replica(
        server=ServerAddress(name="box", kind=ServerKind.OLLAMA, base_url="http://box"),
        embedded=False,
        model="m",
        num_ctx=512,
        keep_alive="5m",
        context_length=1024,
    )

    def test_the_experts_sampling_fills_what_the_client_left_open(self):
        expert = Expert(slug="code", defaults={"temperature": 0.1, "top_p": 0.2, "seed": 3}, system_prompt="Be brief.")
        call = text_call(expert, self.REPLICA, parsed(temperature=1, options={"seed": 4}), "def f(")
        sampling = call.chat.request.sampling
        assert (sampling.temperature, sampling.top_p, sampling.seed) == (1, 0.2, 4)
        assert (call.chat.num_ctx, call.chat.keep_alive, call.chat.messages) == (512, "5m", ())

    def test_a_window_beyond_the_models_is_refused(self):
        with pytest.raises(BadRequest, match="512"):
            text_call(Expert(slug="code"), self.REPLICA, parsed(num_ctx=2048), "def f(")


class TestWriting:
    EVENTS = (
        Delta(content="a", index=0),
        Delta(reasoning="hidden", index=0),
        Finish(reason="stop", index=0, usage=Usage(prompt_tokens=1, completion_tokens=2)),
        Delta(content="b", index=1),
        Finish(reason="length", index=1, usage=Usage(prompt_tokens=3, completion_tokens=4)),
    )

    def test_a_stream(self):
        writer = TextWriter(HEAD, include_usage=True)
        chunks = [chunk for event in self.EVENTS for chunk in writer.write(event)] + list(writer.end())
        choices = [choice for chunk in chunks for choice in chunk["choices"]]
        assert [(choice["index"], choice["text"], choice["finish_reason"]) for choice in choices] == [
            (0, "a", None),
            (0, "", "stop"),
            (1, "b", None),
            (1, "", "length"),
        ]
        assert all(chunk["object"] == "text_completion" for chunk in chunks)
        assert [chunk["usage"] for chunk in chunks[:-1]] == [None] * 4
        assert chunks[-1]["usage"] == {"prompt_tokens": 4, "completion_tokens": 6, "total_tokens": 10}

    def test_without_usage_no_chunk_is_without_a_choice(self):
        writer = TextWriter(HEAD, include_usage=False)
        chunks = [chunk for event in self.EVENTS for chunk in writer.write(event)] + list(writer.end())
        assert all(chunk["choices"] and "usage" not in chunk for chunk in chunks)

    def test_one_object(self):
        answer = TextCollector()
        for event in self.EVENTS:
            answer.add(event)
        completion = answer.completion(HEAD)
        assert [choice["text"] for choice in completion["choices"]] == ["a", "b"]
        assert completion["usage"]["total_tokens"] == 10

    def test_log_probabilities_in_the_older_form(self):
        entries = [
            {"token": "ab", "logprob": -1, "bytes": None, "top_logprobs": [{"token": "x", "logprob": -2}]},
            {"token": "c", "logprob": -3, "bytes": None, "top_logprobs": []},
        ]
        assert legacy_logprobs(entries, offset=4) == {
            "tokens": ["ab", "c"],
            "token_logprobs": [-1, -3],
            "top_logprobs": [{"x": -2}, {}],
            "text_offset": [4, 6],
        }
        assert legacy_logprobs([], offset=0) is None


@pytest.mark.served
class TestServed:
    def test_the_official_client(self, served_ollama):
        answer = served_ollama.client().completions.create(model=CODER, prompt="def f(", max_tokens=2, logprobs=2)
        choice = answer.choices[0]
        assert (choice.text, choice.finish_reason, answer.object) == ("Hello from", "length", "text_completion")
        assert choice.logprobs.tokens == ["Hello", " from"]
        assert answer.usage.total_tokens > 0

    def test_several_prompts(self, served_ollama, ollama):
        ollama.reply(Reply(content="one"))
        ollama.reply(Reply(content="two"))
        answer = served_ollama.client().completions.create(model=CODER, prompt=["a", "b"])
        assert [(choice.index, choice.text) for choice in answer.choices] == [(0, "one"), (1, "two")]

    def test_several_answers_to_a_prompt_have_seeds_of_their_own_and_read_it_once(self, served_ollama, ollama):
        ollama.default_reply = Reply(content="x", prompt_tokens=5, completion_tokens=2)
        client = served_ollama.client()
        usage = client.completions.create(model=CODER, prompt=["a", "b"], n=2, seed=7).usage
        sent = [request.json for request in ollama.work_at("/api/generate")]
        assert [(one["prompt"], one["options"]["seed"]) for one in sent] == [("a", 7), ("a", 8), ("b", 7), ("b", 8)]
        assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (10, 8, 18)
        wanted = {"include_usage": True}
        chunks = list(client.completions.create(model=CODER, prompt="a", n=3, stream=True, stream_options=wanted))
        assert (chunks[-1].usage.prompt_tokens, chunks[-1].usage.completion_tokens) == (5, 6)

    def test_an_editor_that_sends_prompt_and_suffix(self, served_ollama, ollama):
        ollama.reply(Reply(content=["x", "):"]))
        chunks = list(
            served_ollama.client().completions.create(
                model="auto",
                prompt="def f(",
                suffix="return x",
                max_tokens=64,
                temperature=0.01,
                stop=["\n\n"],
                stream=True,
            )
        )
        assert "".join(chunk.choices[0].text for chunk in chunks) == "x):"
        sent = ollama.requests_to("/api/generate")[-1].json
        assert (sent["model"], sent["prompt"], sent["suffix"], sent["raw"]) == (CODER, "def f(", "return x", False)
        assert sent["options"] == {"num_predict": 64, "temperature": 0.01, "stop": ["\n\n"]}
        assert sent["truncate"] is False

    def test_an_editor_that_puts_the_prompt_together(self, served_ollama, ollama):
        prompt = "<|fim_prefix|>def f(<|fim_suffix|>return x<|fim_middle|>"
        list(served_ollama.client().completions.create(model=CODER, prompt=prompt, stop=["<|endoftext|>"], stream=True))
        sent = ollama.requests_to("/api/generate")[-1].json
        assert (sent["prompt"], sent["raw"]) == (prompt, True)

    def test_a_thinking_model_is_asked_not_to(self, served_ollama, ollama):
        served_ollama.client().completions.create(model="deepseek-r1:8b", prompt="Once")
        assert ollama.requests_to("/api/generate")[-1].json["think"] is False

    @pytest.mark.parametrize(
        ("body", "status", "param"),
        [
            ({"model": "llama3.2:3b", "prompt": "a", "suffix": "b"}, 400, "suffix"),
            ({"model": "llama3.2:3b", "prompt": "word " * 9000}, 400, "prompt"),
            ({"model": "nothing", "prompt": "a"}, 404, "model"),
            ({"model": "auto", "prompt": [1]}, 400, "prompt"),
        ],
        ids=["no fill-in", "too long", "unknown", "token numbers"],
    )
    def test_refusals(self, served_ollama, body, status, param):
        response = served_ollama.http().post(COMPLETIONS, json=body)
        assert (response.status_code, response.json()["error"]["param"]) == (status, param)

    def test_an_error_in_the_middle_of_a_stream_is_said(self, served_ollama, ollama):
        ollama.reply(Reply(content=["one", "two"], error_after=1, error="CUDA error"))
        with pytest.raises(openai.APIError, match="CUDA error"):
            list(served_ollama.client().completions.create(model=CODER, prompt="a", stream=True))

    def test_who_answered_is_told(self, served_ollama):
        response = served_ollama.http().post(COMPLETIONS, json={"model": "code", "prompt": "a"})
        assert response.headers["x-moe-expert"] == "code"
        assert response.headers["x-moe-replica"].startswith(f"{CODER}@")
        assert response.headers["x-moe-decision"].startswith("dec_")

    def test_a_client_that_leaves_stops_the_model(self, served_ollama, ollama):
        ollama.reply(Reply(content=["a"] * 400, delay=0.05))
        body = {"model": CODER, "prompt": "a", "stream": True}
        with served_ollama.http().stream("POST", COMPLETIONS, json=body) as response:
            next(response.iter_raw())
        assert ollama.work_at("/api/generate")[-1].wait_disconnected(10)


@pytest.mark.served
def test_the_embedded_model_completes_texts(served):
    answer = served.client().completions.create(model="auto", prompt="Once upon a time", max_tokens=5, temperature=0)
    assert answer.choices[0].text
    assert answer.usage.completion_tokens == 5
