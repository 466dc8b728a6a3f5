"""DSPy's language models over our own pool: DSPy asks, a replica of an expert answers.

No library between them knows of addresses or keys, nothing is kept on disk, and nothing is retried but by the pool.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import dspy
from dspy import lm15

from routing.backends.protocol import ChatRequest, Delta, Finish, Message, ResponseFormat, Sampling, Text, Usage
from routing.catalog import Expert
from routing.decision import Decision, new_id
from routing.exceptions import (
    BadRequest,
    ContextLengthExceeded,
    EndpointError,
    ModelNotFound,
    QueueFull,
    UpstreamBusy,
    UpstreamTimedOut,
)
from routing.metering import helping
from routing.pool import Pool, close_shared_pool, shared_pool

TENANT = "router"
WEIGHT = 0.1
"""Its share where requests wait for a model: people come first."""
GRACE_SECONDS = 2.0
"""How much longer than its limit a caller from another thread waits for a call that does not end in time."""


class PoolEngine:
    """Completes requests on the running event loop's pool; ``timeout`` in seconds, for the whole of one.

    What a model has written when its time is up is its answer, cut short.
    """

    def __init__(self, expert: Expert, *, timeout: float, pool: Callable[[], Pool] = shared_pool) -> None:
        # The program is asked as it was compiled: what the expert is told for people's questions does not belong to it.
        self._expert = replace(expert, system_prompt="", defaults={}, fallbacks=(), answers_while_loading=False)
        self._timeout = timeout
        self._pool = pool

    async def complete(self, request: lm15.Request) -> lm15.Response:
        """Return a model's answer. Raises lm15.LM15Error."""
        chat = chat_request(request, self._expert.slug)
        decision = Decision(id=new_id(), expert=self._expert, route="explicit", why="the routing program asks")
        answer = _Answer()
        try:
            async with asyncio.timeout(self._timeout):
                await self._collect(decision, chat, answer)
        except TimeoutError as error:
            if not answer.text:
                raise lm15.TimeoutError(f"no answer within {self._timeout:.2g} s") from error
        except EndpointError as error:
            raise canonical(error) from error
        return answer.response(request.model)

    async def _collect(self, decision: Decision, chat: ChatRequest, answer: _Answer) -> None:
        with helping("routing"):
            async with aclosing(self._pool().chat(decision, chat, tenant=TENANT, weight=WEIGHT)) as events:
                async for event in events:
                    if isinstance(event, Delta):
                        answer.text += event.content
                    elif isinstance(event, Finish):
                        answer.finish(event)

    async def aclose(self) -> None:
        """Nothing is held between calls."""


class _Answer:
    """What was written so far."""

    def __init__(self) -> None:
        self.text = ""
        self._reason = "length"
        self._usage = Usage()

    def finish(self, event: Finish) -> None:
        self._reason = "length" if event.reason == "length" else "stop"
        self._usage = event.usage or self._usage

    def response(self, model: str) -> lm15.Response:
        return lm15.Response(
            id=None,
            model=model,
            message=lm15.Message.assistant(self.text),
            finish_reason=self._reason,
            usage=lm15.Usage(
                input_tokens=self._usage.prompt_tokens or None, output_tokens=self._usage.completion_tokens or None
            ),
        )


class SyncPoolEngine:
    """Completes requests for callers in threads, on an event loop and a pool of its own; close it after use.

    Compilers call it from several threads at once. The loop starts with the first request.
    """

    def __init__(self, expert: Expert, *, timeout: float) -> None:
        self._engine = PoolEngine(expert, timeout=timeout)
        self._timeout = timeout
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def complete(self, request: lm15.Request) -> lm15.Response:
        """Return a model's answer. Raises lm15.LM15Error."""
        future = self._submit(self._engine.complete(request))
        try:
            return future.result(self._timeout + GRACE_SECONDS)
        except TimeoutError as error:
            if isinstance(error, lm15.LM15Error):
                raise
            raise lm15.TimeoutError(f"no answer within {self._timeout:.2g} s") from error
        finally:
            future.cancel()

    def _submit(self, work: Coroutine[Any, Any, Any]) -> Future[Any]:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._loop.run_forever, name="program", daemon=True)
                self._thread.start()
            return asyncio.run_coroutine_threadsafe(work, self._loop)

    def close(self) -> None:
        """Stop what is running, close its connections and end the thread."""
        with self._lock:
            loop, thread, self._loop, self._thread = self._loop, self._thread, None, None
        if loop is None or thread is None:
            return
        asyncio.run_coroutine_threadsafe(_wound_up(), loop).result(GRACE_SECONDS)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(GRACE_SECONDS)
        loop.close()


async def _wound_up() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await close_shared_pool()


def language_model(
    expert: Expert,
    *,
    timeout: float,
    max_tokens: int = 120,
    temperature: float = 0.0,
    pool: Callable[[], Pool] = shared_pool,
) -> dspy.LM:
    """Return a DSPy language model that ``expert`` is: ``acall`` on the running loop's pool, calls from threads on one.

    ``timeout`` is in seconds, for each call. Whoever calls it from threads closes it: ``lm.engine.close()``.
    """
    return dspy.LM(
        "pool/expert",  # not its slug: DSPy has ideas of its own of models whose names it knows
        engine=SyncPoolEngine(expert, timeout=timeout),
        async_engine=PoolEngine(expert, timeout=timeout, pool=pool),
        cache=False,
        num_retries=0,
        temperature=temperature,
        max_tokens=max_tokens,
    )


# --- translations. Pure. -----------------------------------------------------------------------------------------


def chat_request(request: lm15.Request, expert: str) -> ChatRequest:
    """Return DSPy's request as one of ours: texts alone, without reasoning, which would take all the time there is."""
    config = request.config
    system = request.system if isinstance(request.system, str) else _text(request.system or ())
    messages = tuple(Message(role=one.role, parts=(Text(text=_text(one.parts)),)) for one in request.messages)
    if system:
        messages = (Message(role="system", parts=(Text(text=system),)), *messages)
    return ChatRequest(
        model=expert,
        messages=messages,
        sampling=Sampling(
            temperature=config.temperature,
            top_p=config.top_p,
            max_tokens=config.max_tokens,
            stop=tuple(config.stop) or None,
            seed=config.seed,
            presence_penalty=config.presence_penalty,
            frequency_penalty=config.frequency_penalty,
        ),
        response_format=_response_format(config.response_format),
        think=False,
    )


def _text(parts: Any) -> str:
    return "".join(part.text for part in parts if isinstance(part, lm15.TextPart))


def _response_format(wanted: Any) -> ResponseFormat | None:
    if not wanted or wanted["type"] == "text":
        return None
    if wanted["type"] != "json_schema":
        return ResponseFormat(kind=wanted["type"], raw=dict(wanted))
    named = {"name": wanted.get("name") or "answer", "schema": wanted["schema"], "strict": bool(wanted.get("strict"))}
    return ResponseFormat(
        kind="json_schema",
        schema=wanted["schema"],
        strict=named["strict"],
        raw={"type": "json_schema", "json_schema": named},
    )


def canonical(error: EndpointError) -> lm15.LM15Error:
    """Return one of our errors as the one that DSPy knows for it; its message stays."""
    kinds: tuple[tuple[type[EndpointError] | tuple[type[EndpointError], ...], type[lm15.LM15Error]], ...] = (
        (ContextLengthExceeded, lm15.ContextLengthError),
        (ModelNotFound, lm15.UnsupportedModelError),
        (BadRequest, lm15.InvalidRequestError),
        ((QueueFull, UpstreamBusy), lm15.RateLimitError),
        (UpstreamTimedOut, lm15.TimeoutError),
    )
    kind = next((kind for ours, kind in kinds if isinstance(error, ours)), lm15.ServerError)
    return kind(error.message)
