"""Every parameter of POST /v1/chat/completions and what becomes of it: the promise, in one table. Pure.

gateway/chatrequest.py refuses and passes over what the table says; docs/conformance.md is written from it
(`manage.py conformance`); tests/gateway/test_parameters.py holds the table against what is really read.
OpenAI's parameters are those of openai-python, src/openai/types/chat/completion_create_params.py.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    HONOURED = "honoured"  # the model server has the same
    MAPPED = "mapped"  # it has the same under another name or in another shape
    EMULATED = "emulated"  # it has not; the gateway sees to it
    REFUSED = "refused"  # 400: it would change the answer, and nothing here can carry it out
    NO_EFFECT = "accepted without effect"  # the answer would be the same


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One row: how each kind of server gets it, and a note (for a refused one: why, and what to do instead)."""

    name: str
    verdict: Verdict
    ollama: str = "—"
    openai: str = "—"
    note: str = ""


def _same(name: str, *, ollama: str = "", note: str = "") -> Parameter:
    """Return the row of a parameter that both kinds of servers have."""
    verdict = Verdict.HONOURED
    return Parameter(name=name, verdict=verdict, ollama=ollama or f"`{name}`", openai="passed on", note=note)


def _option(name: str, *, openai: str = "passed on", note: str = "") -> Parameter:
    return Parameter(name=name, verdict=Verdict.HONOURED, ollama=f"`options.{name}`", openai=openai, note=note)


def _refused(name: str, why: str) -> Parameter:
    return Parameter(name=name, verdict=Verdict.REFUSED, note=why)


def _no_effect(name: str, why: str) -> Parameter:
    return Parameter(name=name, verdict=Verdict.NO_EFFECT, note=why)


def _alias(name: str, of: str, note: str = "") -> Parameter:
    how = f"as `{of}`"
    return Parameter(name=name, verdict=Verdict.MAPPED, ollama=how, openai=how, note=note)


def _row(name: str, verdict: Verdict, ollama: str, openai: str, note: str = "") -> Parameter:
    return Parameter(name=name, verdict=verdict, ollama=ollama, openai=openai, note=note)


OPENAI_PARAMETERS: tuple[Parameter, ...] = (
    _row("model", Verdict.MAPPED, "the tag of the replica", "the tag of the replica", "`auto` lets the router choose."),
    _row(
        "messages",
        Verdict.MAPPED,
        "one native message each: text parts joined, `developer` as `system`, images as base64, tool results by the "
        "name of the function that was called",
        "passed on; `developer` as `system`, reasoning as `reasoning_content`",
        "Parts of type text, refusal and image_url (data URI, or an http(s) URL that the gateway fetches: PNG, JPEG, "
        "WebP; GIF for OpenAI-compatible servers only). Other parts, such as input_audio and file, are refused.",
    ),
    _refused("audio", "no model here speaks; leave it out"),
    _same("frequency_penalty", ollama="`options.frequency_penalty`", note="0 is sent too."),
    _refused("function_call", "use 'tool_choice' instead"),
    _refused("functions", "use 'tools' instead"),
    _refused("logit_bias", "token numbers differ from model to model; leave it out"),
    _same("logprobs"),
    _row(
        "max_completion_tokens",
        Verdict.MAPPED,
        "`options.num_predict`",
        "`max_tokens`",
        "Beats `max_tokens`. Thinking counts.",
    ),
    _same("max_tokens", ollama="`options.num_predict`"),
    _row(
        "metadata",
        Verdict.EMULATED,
        "stays here",
        "stays here",
        "Labels that the administrator's rules may look at. An object of texts: 16 pairs, names of 64 characters, "
        "values of 512; anything else is refused.",
    ),
    _row("modalities", Verdict.HONOURED, "text only", "text only", "Anything else than `text` is refused."),
    _refused("moderation", "nothing here moderates; leave it out"),
    _row(
        "n",
        Verdict.EMULATED,
        "that many calls at once",
        "that many calls at once",
        "1 to 16. Choices stream interleaved; a `seed` counts up by one for each; usage counts the prompt once.",
    ),
    _row(
        "parallel_tool_calls",
        Verdict.EMULATED,
        "`false` is said in the system prompt",
        "passed on",
        "Of several calls all the same the first is kept; `X-MoE-Adjusted` says so.",
    ),
    _no_effect("prediction", "it would only make the same answer faster"),
    _same("presence_penalty", ollama="`options.presence_penalty`", note="0 is sent too."),
    _no_effect("prompt_cache_key", "model servers find shared prefixes themselves"),
    _no_effect("prompt_cache_options", "model servers find shared prefixes themselves"),
    _no_effect("prompt_cache_retention", "see `keep_alive` for how long a model stays loaded"),
    _row(
        "reasoning_effort",
        Verdict.MAPPED,
        "`think`: none is false, minimal is low, xhigh and ultra are max",
        "passed on; none is `chat_template_kwargs.enable_thinking` false",
        "400 if the model is known not to think; `none` is always accepted. Thinking comes back as `reasoning` and "
        "`reasoning_content`.",
    ),
    _row(
        "response_format",
        Verdict.MAPPED,
        "`format`: `json`, or the schema",
        "passed on",
        "The finished answer is checked for `json_object`, and for `json_schema` with `strict`. If it does not fit: "
        "not streamed, the model is asked once more with the fault named, then 502 `invalid_json_answer`; streamed, an "
        "error event at the end. An answer cut short keeps its finish_reason `length` and is not checked. The schema's "
        "`format` keyword is not checked.",
    ),
    _no_effect("safety_identifier", "a label; nothing is stored under it"),
    _same("seed", ollama="`options.seed`"),
    _no_effect("service_tier", "there is one tier"),
    _same("stop", ollama="`options.stop`", note="A text or a list of texts."),
    _no_effect("store", "completions are not stored for retrieval"),
    _row("stream", Verdict.HONOURED, "always streamed, joined here if need be", "likewise"),
    _row("stream_options", Verdict.HONOURED, "by the gateway", "by the gateway"),
    _row("stream_options.include_usage", Verdict.HONOURED, "a chunk of usage at the end", "likewise"),
    _no_effect("stream_options.include_obfuscation", "chunks are not padded"),
    _same("temperature", ollama="`options.temperature`", note="Absent: the expert's, else the model's own default."),
    _row(
        "tool_choice",
        Verdict.EMULATED,
        "`none` withholds the tools; `required` and a named function are said in the system prompt, with the tools "
        "narrowed to the one that is named",
        "passed on",
        "With `required` or a named function the answer is held back until the call begins. An answer without a "
        "fitting call is asked for once more, then 502 `tool_choice_unfulfilled`; one cut short keeps its "
        "finish_reason `length`. `allowed_tools` narrows `tools`.",
    ),
    _row(
        "tools",
        Verdict.HONOURED,
        "`tools`",
        "passed on",
        "Functions only. 400 if the model is known not to call any. Ollama does not read all of JSON Schema in "
        "`parameters`. No server holds a model to `strict`: its calls are checked here. If one does not fit: not "
        "streamed, the model is asked once more with the fault named; a call that still does not fit, or was streamed, "
        "goes out, and `tools.function.strict` is named as adjusted.",
    ),
    _same("top_logprobs", note="0 to 20; needs `logprobs`."),
    _same("top_p", ollama="`options.top_p`", note="Absent: the expert's, else the model's own default."),
    _no_effect("user", "a label; nothing is stored under it"),
    _row(
        "verbosity",
        Verdict.EMULATED,
        "low and high are said in the system prompt",
        "likewise",
        "medium is what a model does anyway.",
    ),
    _refused("web_search_options", "there is no web search; leave it out"),
)

EXTENSIONS: tuple[Parameter, ...] = (
    _row(
        "num_ctx",
        Verdict.HONOURED,
        "`options.num_ctx`",
        "checked against its window",
        "A replica's own window serves whoever asks for less; 400 above it, and above what the model was trained for.",
    ),
    _row(
        "keep_alive",
        Verdict.HONOURED,
        "`keep_alive`",
        "no effect: its model stays loaded",
        "Seconds or a duration such as `5m`.",
    ),
    _row(
        "think",
        Verdict.HONOURED,
        "`think`",
        "`chat_template_kwargs.enable_thinking`, a level as `reasoning_effort`",
        "Beats `reasoning_effort`. 400 if the model is known not to think; `false` is always accepted.",
    ),
    _row("moe", Verdict.EMULATED, "stays here", "stays here", "Of this endpoint; see its fields."),
    _row(
        "moe.explain",
        Verdict.EMULATED,
        "by the gateway",
        "by the gateway",
        "`true`: the answer, and of a stream the first chunk, has `moe` with the decision, its expert, its route and "
        "the whole why. `POST /v1/route` tells the same without an answer.",
    ),
    _row(
        "use_rag",
        Verdict.EMULATED,
        "stays here",
        "stays here",
        "`true` grounds the answer in the knowledge base: in the collections that the matching rule or the profile "
        "names, else in all the key may read. `false` keeps it ungrounded whatever rules and profiles say. See "
        "docs/grounding.md.",
    ),
    _row(
        "rag_collections",
        Verdict.EMULATED,
        "stays here",
        "stays here",
        "Names of collections (or one name) to ground the answer in, instead of those of rules and profiles; 20 at "
        "most. 404 for one that is not there or that the key may not read.",
    ),
    _row(
        "rag",
        Verdict.EMULATED,
        "see its fields",
        "see its fields",
        "An object, of which all may be left out; `true` and `false` are those of `use_rag`.",
    ),
    _row("rag.collections", Verdict.EMULATED, "stays here", "stays here", "Beats `rag_collections`."),
    _row("rag.top_k", Verdict.EMULATED, "stays here", "stays here", "Passages to look for, 1 to 50; 5 by itself."),
    _row(
        "rag.filters",
        Verdict.EMULATED,
        "stays here",
        "stays here",
        "As in OpenAI's vector stores: a comparison (`eq`, `ne`, `gt`, `gte`, `lt`, `lte`, `in`, `nin`) or several "
        "under `and` or `or`.",
    ),
    _row("rag.mode", Verdict.EMULATED, "stays here", "stays here", "`hybrid`, `vector` or `text`."),
    _row(
        "rag.condense",
        Verdict.EMULATED,
        "stays here",
        "stays here",
        "`false` searches a follow-up question as it stands, without the conversation before it.",
    ),
    _row("options", Verdict.HONOURED, "`options`", "the ones below", "Of Ollama; a parameter of the same name wins."),
    _row("reasoning", Verdict.MAPPED, "see its fields", "see its fields", "Of OpenRouter and /v1/responses."),
    _alias("reasoning.effort", "reasoning_effort", "Beats `reasoning_effort`."),
    _alias("reasoning.enabled", "think"),
    _option("top_k"),
    _option("min_p"),
    _option("typical_p"),
    _option("repeat_last_n"),
    _option("repeat_penalty"),
    _option("num_keep", openai="`n_keep`"),
)

OPTIONS: tuple[Parameter, ...] = (
    *(
        _alias(f"options.{name}", name)
        for name in ("temperature", "top_p", "stop", "seed", "presence_penalty", "frequency_penalty", "num_ctx")
    ),
    _alias("options.num_predict", "max_tokens", "A negative one means no limit."),
    *(
        _alias(f"options.{name}", name)
        for name in ("top_k", "min_p", "typical_p", "repeat_last_n", "repeat_penalty", "num_keep")
    ),
    *(
        _refused(
            f"options.{name}",
            "it would load the model anew for everybody; an administrator sets it on the model server",
        )
        for name in ("num_batch", "num_gpu", "main_gpu", "use_mmap", "num_thread", "draft_num_predict")
    ),
)

ALIASES: tuple[Parameter, ...] = (
    _alias("max_output_tokens", "max_tokens", "Of /v1/responses and Gemini."),
    _alias("max_new_tokens", "max_tokens", "Of Hugging Face."),
    _alias("num_predict", "max_tokens", "Of Ollama."),
    _alias("n_predict", "max_tokens", "Of llama.cpp."),
    _alias("stop_sequences", "stop", "Of Anthropic."),
    _alias("repetition_penalty", "repeat_penalty", "Of vLLM and Hugging Face."),
    _alias("format", "response_format", "Of Ollama: `json` or a schema."),
    _alias("enable_thinking", "think", "Of Qwen."),
    _row("thinking", Verdict.MAPPED, "as `think`", "as `think`", "Of Anthropic and DeepSeek: `type` enabled/disabled."),
    _row("chat_template_kwargs", Verdict.MAPPED, "see its fields", "see its fields", "Of vLLM and llama.cpp."),
    _alias("chat_template_kwargs.enable_thinking", "think"),
    _alias("chat_template_kwargs.thinking", "think"),
    *(
        _refused(name, "use 'response_format' with a JSON Schema instead")
        for name in ("guided_json", "guided_regex", "guided_choice", "guided_grammar", "structured_outputs")
    ),
    *(_refused(name, "use 'response_format' with a JSON Schema instead") for name in ("grammar", "json_schema")),
    *(
        _refused(name, "a prompt that does not fit is an error here, never cut in silence; leave it out")
        for name in ("truncate", "shift")
    ),
)

TABLES: tuple[tuple[str, tuple[Parameter, ...]], ...] = (
    ("OpenAI's parameters", OPENAI_PARAMETERS),
    ("Extensions", EXTENSIONS),
    ("Inside `options`", OPTIONS),
    ("What other servers' clients send", ALIASES),
)


def parameters() -> Iterator[Parameter]:
    for _, rows in TABLES:
        yield from rows


REFUSED = {row.name: row.note for row in parameters() if row.verdict is Verdict.REFUSED}
NO_EFFECT = frozenset(row.name for row in parameters() if row.verdict is Verdict.NO_EFFECT)
