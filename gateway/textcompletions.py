"""Text completions: OpenAI's JSON in and out, and the use case behind every door that completes a text.

Source: openai/openai-python, src/openai/types/completion_create_params.py and completion.py. Different from OpenAI:
without ``max_tokens`` the model's own limit holds, not 16 tokens; ``raw: true`` is an extension that keeps Ollama from
putting the model's template around the prompt.
"""

import time
import uuid
from collections.abc import AsyncGenerator, Collection, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from gateway.account import Account
from gateway.aliases import ALIASES, TOP_LEVEL_OPTIONS, settled
from gateway.auth import Caller
from gateway.chatanswer import Head, usage_object
from gateway.chatrequest import read_chat
from gateway.completions import Routed
from gateway.fields import Fields, invalid, json_object, unsupported
from gateway.guards.guarding import guarding_for
from gateway.guards.outgoing import given
from gateway.limits.demand import text_demand
from gateway.offer import Offer
from gateway.parameters import NO_EFFECT
from gateway.usage.texts import prompts_kept
from routing.backends.generation import TextCall, TextRequest, is_templated
from routing.backends.protocol import (
    ChatEvent,
    Finish,
    Json,
    Message,
    Text,
    Usage,
)
from routing.catalog import Expert, Replica, catalog
from routing.decision import Decision
from routing.exceptions import BadRequest, EndpointError, UpstreamFailed
from routing.features import Asker
from routing.mixture.plan import alone
from routing.named import to_fill_in
from routing.pool import shared_pool
from routing.preparing import prepare
from routing.router import shared_router
from routing.tracing import stage
from routing.trial import Attempt

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


# --- in -----------------------------------------------------------------------------------------------------


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
    return text_request(_shared(data) | _logprobs(data), prompts, data)


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


# --- out ----------------------------------------------------------------------------------------------------


class TextWriter:
    """Events into text_completion objects, as they are streamed; the first has ``moe``, for a client that asked."""

    def __init__(self, head: Head, *, include_usage: bool, moe: Json | None = None) -> None:
        self._head = head
        self._moe = moe
        self._include_usage = include_usage
        self._usage = Usage()
        self._offsets: dict[int, int] = {}

    def write(self, event: ChatEvent) -> Iterator[dict[str, Any]]:
        if isinstance(event, Finish):
            self._usage += event.usage or Usage()
            yield self._chunk(event.index, "", finish_reason=event.reason)
        elif event.content or event.logprobs:
            offset = self._offsets.get(event.index, 0)
            self._offsets[event.index] = offset + len(event.content)
            yield self._chunk(event.index, event.content, logprobs=legacy_logprobs(event.logprobs, offset=offset))

    def end(self) -> Iterator[dict[str, Any]]:
        """Yield what comes after the last event."""
        if self._include_usage:
            yield _envelope(self._head, []) | {"usage": usage_object(self._usage)}

    def _chunk(
        self, index: int, text: str, *, finish_reason: str | None = None, logprobs: Json | None = None
    ) -> dict[str, Any]:
        choice = {"index": index, "text": text, "logprobs": logprobs, "finish_reason": finish_reason}
        chunk = _envelope(self._head, [choice])
        if self._moe:
            chunk, self._moe = chunk | {"moe": self._moe}, None
        return chunk | {"usage": None} if self._include_usage else chunk


@dataclass(slots=True)
class TextCollector:
    """Events into one text_completion object."""

    texts: dict[int, list[str]] = field(default_factory=dict)
    logprobs: dict[int, list[Json]] = field(default_factory=dict)
    reasons: dict[int, str] = field(default_factory=dict)
    usage: Usage = field(default_factory=Usage)

    def add(self, event: ChatEvent) -> None:
        if isinstance(event, Finish):
            self.reasons[event.index] = event.reason
            self.usage += event.usage or Usage()
        else:
            self.texts.setdefault(event.index, []).append(event.content)
            self.logprobs.setdefault(event.index, []).extend(event.logprobs)

    def completion(self, head: Head, moe: Json | None = None) -> dict[str, Any]:
        choices = [
            {
                "index": index,
                "text": "".join(self.texts.get(index, ())),
                "logprobs": legacy_logprobs(self.logprobs.get(index, ()), offset=0),
                "finish_reason": reason,
            }
            for index, reason in sorted(self.reasons.items())
        ]
        whole = _envelope(head, choices) | {"usage": usage_object(self.usage)}
        return whole | {"moe": moe} if moe else whole


def _envelope(head: Head, choices: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": head.id,
        "object": "text_completion",
        "created": head.created,
        "model": head.model,
        "choices": choices,
    }


def legacy_logprobs(entries: Sequence[Json], *, offset: int) -> Json | None:
    """Return log probabilities in the form of text completions; ``offset`` is where the first token stands."""
    if not entries:
        return None
    tokens = [entry["token"] for entry in entries]
    offsets = []
    for token in tokens:
        offsets.append(offset)
        offset += len(token)
    return {
        "tokens": tokens,
        "token_logprobs": [entry["logprob"] for entry in entries],
        "top_logprobs": [
            {top["token"]: top["logprob"] for top in entry.get("top_logprobs") or ()} for entry in entries
        ],
        "text_offset": offsets,
    }


# --- the use case -------------------------------------------------------------------------------------------


async def complete_text(
    request: TextRequest, *, caller: Caller, asker: Asker, request_id: str
) -> AsyncGenerator[Routed | ChatEvent]:
    """Yield Routed for each replica tried, and the events of each prompt's completion in turn. Raises EndpointError.

    Whoever opens this generator closes it (aclosing): that is what stops the model when a client leaves.
    """
    chat = request.chat
    account = Account(
        what="text completion", request_id=request_id, caller=caller, asked=chat.model, is_streamed=chat.stream
    )
    try:
        guarding = account.guarding = await guarding_for(request.chat.model, caller)
        request = _shown(request, await guarding.texts((*request.prompts, request.suffix or ""), param="prompt"))
        decision = account.decision = await _decided(request, asker, caller)
        request = replace(request, chat=decision.applied_to(request.chat))
        await account.reserve(lambda: text_demand(request, decision, shared_pool().tokens))
        await guarding.judge(param="prompt")
        answered = _answered(request, decision, caller, account)
        account.kept = prompts_kept(request.prompts, request.suffix, caller=caller)
        async with aclosing(given(guarding, answered, account, request.chat, answers=len(request.prompts))) as events:
            async for event in events:
                if account.kept:
                    account.kept.saw(event)
                yield event
    except EndpointError as error:
        account.error = error
        raise
    finally:
        account.close()


def _shown(request: TextRequest, texts: tuple[str, ...]) -> TextRequest:
    """Return ``request`` with its prompts, and its suffix after them, as a model may be shown them."""
    *prompts, suffix = texts
    messages = (Message(role="user", parts=(Text(text=prompts[0]),)),)
    chat = request.chat if prompts == list(request.prompts) else replace(request.chat, messages=messages)
    return replace(request, chat=chat, prompts=tuple(prompts), suffix=suffix or None)


async def _answered(
    request: TextRequest, decision: Decision, caller: Caller, account: Account
) -> AsyncGenerator[Routed | ChatEvent]:
    """Complete one prompt after the other, noting in ``account`` how that goes."""
    head = Head(id=f"cmpl-{uuid.uuid4().hex}", created=int(time.time()), model=decision.expert.slug)
    for index, prompt in enumerate(request.prompts):
        account.reason = None  # until the last one has ended, leaving is cancelling
        async with aclosing(_run(request, prompt, decision, caller)) as events:
            async for event in events:
                if isinstance(event, Attempt):
                    head = replace(head, model=event.expert.slug)
                    account.tried(event)
                    yield Routed(decision=decision, replica=event.replica, head=head, ignored=request.chat.ignored)
                    continue
                account.saw()
                if isinstance(event, Finish):
                    account.reason = event.reason
                yield replace(event, index=index)


async def _decided(request: TextRequest, asker: Asker, caller: Caller) -> Decision:
    known = await catalog.aget()
    Offer(caller=caller, known=known).check_chat(request.chat.model)
    with stage("route") as span:
        decision = await shared_router().decide(request.chat, known, asker=asker)
        span.tell({"moe.route": decision.route, "moe.expert": decision.expert.slug})
    decision = alone(decision, "a text completion is made by one expert")
    return decision if request.suffix is None else to_fill_in(decision, request.chat.model, known)


async def _run(
    request: TextRequest, prompt: str, decision: Decision, caller: Caller
) -> AsyncGenerator[Attempt | ChatEvent]:
    """Yield what the pool yields for one prompt; raises UpstreamFailed where the end is missing."""
    expert = decision.expert
    ended = False

    def start(replica: Replica) -> AsyncGenerator[ChatEvent]:
        return shared_pool().client.generate(replica.server, text_call(expert, replica, request, prompt))

    source = shared_pool().run(decision, start, tenant=caller.tenant, weight=caller.weight)
    async with aclosing(source) as events:
        async for event in events:
            if isinstance(event, Attempt):
                expert = event.expert  # another one after a fall back
                if event.call:
                    event.call.expects = partial(
                        shared_pool().likely_tokens, event.replica, (prompt, request.suffix or "")
                    )
            ended = isinstance(event, Finish)
            yield event
    if not ended:
        raise UpstreamFailed("The model server ended its answer without an end.")


def text_call(expert: Expert, replica: Replica, request: TextRequest, prompt: str) -> TextCall:
    """Return the call ``replica`` runs for one prompt, with the expert's sampling filled in.

    An expert's system prompt has no part in it: a text is gone on with as it stands.
    """
    return TextCall(
        chat=replace(prepare(expert, replica, request.chat), messages=()),
        prompt=prompt,
        suffix=request.suffix,
        raw=request.raw,
        window=replica.context_length,
    )
