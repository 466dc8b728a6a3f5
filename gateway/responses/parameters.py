"""Every parameter of POST /v1/responses and what becomes of it: the promise, in one table. Pure.

gateway/responses/request.py refuses and passes over what the table says; docs/conformance.md is written from it
(`manage.py conformance`); tests/gateway/test_responses_parameters.py holds the table against what is really read.
"As in a chat" is what gateway/parameters.py says of the parameter of that name.
OpenAI's parameters are those of openai-python, src/openai/types/responses/response_create_params.py.
"""

from gateway import parameters as chats
from gateway.parameters import Parameter, Verdict

LIKE_A_CHAT = "as in a chat"
STAYS = "stays here"


def _chat(name: str, verdict: Verdict, as_: str = "", note: str = "") -> Parameter:
    """Return the row of a parameter that is a chat's, there called ``as_`` if not the same."""
    how = f"as a chat's `{as_}`" if as_ else LIKE_A_CHAT
    return Parameter(name=name, verdict=verdict, ollama=how, openai=how, note=note)


def _not_here(name: str) -> Parameter:
    """Return the row of a parameter that is refused as in a chat."""
    return _refused(name, chats.REFUSED[name])


def _here(name: str, note: str) -> Parameter:
    return Parameter(name=name, verdict=Verdict.EMULATED, ollama=STAYS, openai=STAYS, note=note)


def _refused(name: str, why: str) -> Parameter:
    return Parameter(name=name, verdict=Verdict.REFUSED, note=why)


def _no_effect(name: str, why: str) -> Parameter:
    return Parameter(name=name, verdict=Verdict.NO_EFFECT, note=why)


OPENAI_PARAMETERS: tuple[Parameter, ...] = (
    _no_effect("access_programs", "there are no such programs here"),
    _refused("background", "nothing runs here after its client left; stream the response instead"),
    _refused("background_options", "nothing runs here after its client left; leave it out"),
    _refused("context_management", "nothing is compacted here; shorten the conversation in the client"),
    _refused(
        "conversation",
        "conversations are no objects here; continue a response with 'previous_response_id', or send its items",
    ),
    _no_effect("image", "images reach the model as they are sent"),
    _here(
        "include",
        "`reasoning.encrypted_content` gives thinking sealed, for a client to send back; "
        "`message.output_text.logprobs` and `file_search_call.results` give those; the others OpenAI has are about "
        "tools that are refused.",
    ),
    _chat(
        "input",
        Verdict.MAPPED,
        "messages",
        "A text, or items: message (parts of type input_text, output_text, refusal, input_image and, for texts in "
        "UTF-8, input_file; both by `file_id` too), reasoning, function_call, function_call_output, custom_tool_call, "
        "custom_tool_call_output, file_search_call (passed over), and item_reference where responses are kept. What a "
        "model said in one turn becomes one message. Other items and parts are refused.",
    ),
    _chat("instructions", Verdict.MAPPED, "messages", "The system message. Of a continued response they do not count."),
    _chat("max_output_tokens", Verdict.MAPPED, "max_completion_tokens", "Where it cuts, the response is `incomplete`."),
    _here("max_tool_calls", "Of built-in tools: `file_search` searches once, so no number is exceeded."),
    _chat("metadata", Verdict.EMULATED, note="The response repeats it."),
    _chat("model", Verdict.MAPPED),
    _refused("moderation", "nothing here moderates; leave it out"),
    _chat("parallel_tool_calls", Verdict.EMULATED),
    _here(
        "previous_response_id",
        "Where prompts and answers of the API key are kept (`keep texts` on its page in admin, or on its group's); "
        "else refused. 404 for a response of another key.",
    ),
    _refused("prompt", "templates of prompts are not kept here; send 'instructions' and 'input'"),
    _no_effect("prompt_cache_key", "model servers find shared prefixes themselves; the response repeats it"),
    _no_effect("prompt_cache_options", "model servers find shared prefixes themselves"),
    _no_effect("prompt_cache_retention", "see `keep_alive` for how long a model stays loaded"),
    Parameter(name="reasoning", verdict=Verdict.MAPPED, ollama="see its fields", openai="see its fields"),
    _chat("reasoning.effort", Verdict.MAPPED, "reasoning_effort"),
    _here(
        "reasoning.summary",
        "No model here makes summaries: thinking itself comes as the summary of the reasoning item. Without it, it "
        "comes as the item's content (reasoning_text).",
    ),
    _here("reasoning.generate_summary", "The older name of `reasoning.summary`."),
    _no_effect("safety_identifier", "a label; the response repeats it"),
    _no_effect("service_tier", "there is one tier; the response says `default`"),
    _here(
        "store",
        "Kept where the API key's prompts and answers are, unless it is `false`; the response's `store` tells whether "
        "it was. Absent counts as true.",
    ),
    _chat("stream", Verdict.HONOURED, note="Events as OpenAI's, with `sequence_number`; no `[DONE]`."),
    _chat("stream_options", Verdict.HONOURED),
    _no_effect("stream_options.include_obfuscation", "events are not padded"),
    _chat("temperature", Verdict.HONOURED),
    Parameter(name="text", verdict=Verdict.MAPPED, ollama="see its fields", openai="see its fields"),
    _chat("text.format", Verdict.MAPPED, "response_format", "text, json_object or json_schema (flat)."),
    _chat("text.verbosity", Verdict.EMULATED, "verbosity"),
    _chat(
        "tool_choice",
        Verdict.EMULATED,
        note="none, auto, required, a function, a custom tool, file_search, or allowed_tools.",
    ),
    _chat(
        "tools",
        Verdict.EMULATED,
        note="`function` (flat). `custom`: a function of one text for the model, whose calls come as custom_tool_call; "
        "a grammar is told to the model and not enforced. `namespace`: its tools, for the model with the namespace "
        "before their names; calls tell both. `file_search`: the collections are searched before the model is asked, "
        "as with `rag`; a file_search_call tells of it, and citations are file_citation. OpenAI's other tools are "
        "refused.",
    ),
    _chat("top_logprobs", Verdict.HONOURED, note="0 to 20; more than 0 asks for log probabilities too."),
    _chat("top_p", Verdict.HONOURED),
    Parameter(
        name="truncation",
        verdict=Verdict.HONOURED,
        ollama="`disabled`",
        openai="`disabled`",
        note="`auto` is passed over, named in `X-MoE-Ignored`: a prompt that does not fit is an error here, never cut "
        "in silence. The response says `disabled`.",
    ),
    _no_effect("user", "a label; the response repeats it"),
)

NAMES_OF_CHATS: tuple[Parameter, ...] = (
    _refused("messages", "send the conversation as 'input'"),
    _refused("max_tokens", "use 'max_output_tokens' instead"),
    _refused("max_completion_tokens", "use 'max_output_tokens' instead"),
    _refused("response_format", "use 'text.format' instead, with the schema in it"),
    _refused("reasoning_effort", "use 'reasoning.effort' instead"),
    _refused("verbosity", "use 'text.verbosity' instead"),
    _refused("functions", "use 'tools' instead"),
    _refused("function_call", "use 'tool_choice' instead"),
    _refused("logprobs", "use 'include' with 'message.output_text.logprobs' instead, and 'top_logprobs'"),
    _refused("n", "a response is one answer; send the request once for each (1 is accepted)"),
    _refused("modalities", "every answer is text; leave it out"),
    _not_here("audio"),
    _not_here("logit_bias"),
    _not_here("web_search_options"),
)
"""What changes the answer of a chat and a client of responses says otherwise, or cannot say at all."""

OF_A_CHAT = (
    "moe", "use_rag", "rag_collections", "rag", "num_ctx", "keep_alive", "think", "options", "seed", "stop",
    "presence_penalty", "frequency_penalty", "top_k", "min_p", "typical_p", "repeat_last_n", "repeat_penalty",
    "num_keep",
)  # fmt: skip

EXTENSIONS: tuple[Parameter, ...] = tuple(row for row in chats.parameters() if row.name in OF_A_CHAT)

TABLES: tuple[tuple[str, tuple[Parameter, ...]], ...] = (
    ("OpenAI's parameters", OPENAI_PARAMETERS),
    ("What belongs to chats", NAMES_OF_CHATS),
    ("Extensions", EXTENSIONS),
)

REFUSED = {row.name: row.note for row in (*OPENAI_PARAMETERS, *NAMES_OF_CHATS) if row.verdict is Verdict.REFUSED}
NO_EFFECT = frozenset(row.name for row in OPENAI_PARAMETERS if row.verdict is Verdict.NO_EFFECT)
