"""The use case behind every door that completes a text."""

import time
import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from functools import partial

from gateway.account import Account
from gateway.auth import Caller
from gateway.chatanswer import Head
from gateway.choices import generated, single
from gateway.completions import Routed
from gateway.guards.guarding import guarding_for
from gateway.guards.outgoing import given
from gateway.limits.demand import text_demand
from gateway.offer import Offer
from gateway.usage.texts import prompts_kept
from routing.backends.generation import TextCall, TextRequest
from routing.backends.protocol import (
    ChatEvent,
    Finish,
    Message,
    Text,
)
from routing.catalog import Expert, Replica, catalog
from routing.decision import Decision
from routing.exceptions import EndpointError, UpstreamFailed
from routing.features import Asker
from routing.mixture.plan import alone
from routing.named import to_fill_in
from routing.pool import shared_pool
from routing.preparing import prepare
from routing.router import shared_router
from routing.tracing import stage
from routing.trial import Attempt


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
    """Complete one prompt after the other, noting in ``account`` how that goes.

    Of several answers to a prompt each has a seed of its own, and the first alone counts the prompt: as in a chat.
    """
    head = Head(id=f"cmpl-{uuid.uuid4().hex}", created=int(time.time()), model=decision.expert.slug)
    for index, prompt in enumerate(request.prompts):
        account.reason = None  # until the last one has ended, leaving is cancelling
        answer = index % request.times
        asked = replace(request, chat=single(request.chat, answer))
        async with aclosing(_run(asked, prompt, decision, caller)) as events:
            async for event in events:
                if isinstance(event, Attempt):
                    head = replace(head, model=event.expert.slug)
                    account.tried(event)
                    yield Routed(decision=decision, replica=event.replica, head=head, ignored=request.chat.ignored)
                    continue
                account.saw()
                if isinstance(event, Finish):
                    account.reason = event.reason
                    event = replace(event, usage=generated(event.usage) if answer and event.usage else event.usage)
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
