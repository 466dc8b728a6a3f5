"""Text completions, from the JSON of their requests. Pure.

Source: openai/openai-python, src/openai/types/completion_create_params.py. Different from OpenAI: without
``max_tokens`` the model's own limit holds, not 16 tokens; ``raw: true`` is an extension that keeps Ollama from putting
the model's template around the prompt.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from gateway.aliases import ALIASES, TOP_LEVEL_OPTIONS, settled
from gateway.chatrequest import read_chat
from gateway.fields import Fields, invalid, json_object, unsupported
from gateway.parameters import NO_EFFECT
from routing.backends.generation import TextRequest, is_templated
from routing.exceptions import BadRequest

# What a text completion has in common with a chat, read by the same code.
SHARED = (
    "model",
    "stream",
    "stream_options",
    "temperature",
    "top_p",
    "max_tokens",
    "max_completion_tokens",
    "stop",
    "seed",
    "presence_penalty",
    "frequency_penalty",
    "logit_bias",
    "response_format",
    "keep_alive",
    "num_ctx",
    "options",
    "metadata",
    "moe",
    *TOP_LEVEL_OPTIONS,
    *ALIASES,
)
# What is read beside that.
OWN = frozenset({"prompt", "suffix", "raw", "echo", "best_of", "logprobs", "n"})
MOST_CHOICES = 16


def parse_text(body: bytes) -> TextRequest:
    """Return the request in ``body``; raises BadRequest naming the parameter that is wrong."""
    data = json_object(body, "'model' and 'prompt'")
    if data.get("echo"):
        raise unsupported("echo", "'echo' is not supported. Put the prompt before the answer yourself.")
    if data.get("best_of") not in (None, 1):
        raise unsupported("best_of", "'best_of' is not supported. Leave it out; 'n' gives several answers.")
    times = Fields(data).integer("n", 1, MOST_CHOICES) or 1
    # OpenAI numbers choices like this: those of the first prompt, then those of the second.
    prompts = [prompt for prompt in _prompts(data.get("prompt")) for _ in range(times)]
    return replace(text_request(_shared(data) | _logprobs(data), prompts, data), times=times)


def _shared(data: Mapping[str, Any]) -> dict[str, Any]:
    return {name: data[name] for name in SHARED if name in data}


def text_request(shared: Mapping[str, Any], prompts: Sequence[str], data: Mapping[str, Any]) -> TextRequest:
    """Return the request for ``prompts``; the fields of a chat are in ``shared``, the others in ``data``."""
    fields = Fields(data)
    suffix, raw = fields.text("suffix"), fields.flag("raw")
    if raw and suffix:
        raise invalid("raw", "'raw' leaves out the template that a 'suffix' needs. Send one of them.")
    message = {"role": "user", "content": prompts[0]}
    chat = read_chat(Fields(settled({**shared, "messages": [message]})))
    return TextRequest(
        chat=replace(chat, ignored=(*chat.ignored, *unread(data, OWN.union(SHARED)))),
        prompts=tuple(prompts),
        suffix=suffix or None,
        raw=(not suffix and any(map(is_templated, prompts))) if raw is None else raw,
    )


def unread(data: Mapping[str, Any], read: Collection[str]) -> Iterator[str]:
    """Yield the fields of ``data`` that are not among those ``read`` and would have had an effect."""
    return (name for name, value in data.items() if value is not None and name not in read and name not in NO_EFFECT)


def _prompts(given: Any) -> tuple[str, ...]:
    if given is None:
        raise BadRequest(
            "'prompt' is missing. Send a text or a list of texts.", param="prompt", code="missing_required_parameter"
        )
    prompts = [given] if isinstance(given, str) else given
    if not isinstance(prompts, list) or not prompts:
        raise invalid("prompt", "'prompt' must be a text or a list of texts.")
    if any(isinstance(item, int | list) for item in prompts):
        raise invalid(
            "prompt", "'prompt' must hold texts, not token numbers, which mean something else to every model."
        )
    if not all(isinstance(item, str) for item in prompts):
        raise invalid("prompt", "'prompt' must be a text or a list of texts.")
    if not all(prompts):
        raise invalid("prompt", "'prompt' is empty. Send at least one character for the model to go on from.")
    return tuple(prompts)


def _logprobs(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``logprobs``, here the number of alternatives, as the two parameters of a chat."""
    count = data.get("logprobs")
    if count is None or count is False:
        return {}
    if type(count) is not int or not 0 <= count <= 20:
        raise invalid("logprobs", "'logprobs' must be a whole number from 0 to 20.")
    return {"logprobs": True, "top_logprobs": count}
