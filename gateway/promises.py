"""What a request was promised and no model server is sure to hold to: a tool is called, only one is, as declared; JSON.

The model was asked in words or by a grammar (routing/backends), neither of which is certain: llama.cpp answers in
words to tool_choice "required" where a model's template knows no tools. Here the answer is checked, asked for once
more if nothing of it went out yet, and else refused, or said to be otherwise where a client can cope with it.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import TypeVar

from gateway import schemas
from gateway.strictcalls import StrictCalls, parameters_of
from routing.backends import codec
from routing.backends.protocol import ChatRequest, Delta, Finish, Json, Message, ServerKind, Text, ToolCallDelta, Usage
from routing.exceptions import BadRequest, EndpointError, UpstreamFailed
from routing.trial import Attempt

logger = logging.getLogger(__name__)

Event = TypeVar("Event")


class PromiseBroken(UpstreamFailed):
    """A model's answer is not what was asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What is wrong with an answer: for the client, and for the model, which is asked once more.

    One that ``may_stay`` is no error in the end: an agent tells the model itself which arguments it cannot use.
    """

    code: str
    param: str
    message: str
    repair: str
    may_stay: bool = False

    def error(self) -> PromiseBroken:
        # The SDKs would send it all again, twice: it was asked again here already.
        return PromiseBroken(self.message, param=self.param, code=self.code, should_retry=False)


# --- what is promised. Pure. ---------------------------------------------------------------------------------


def are_made(request: ChatRequest) -> bool:
    """Tell whether there is anything to hold an answer to."""
    return (
        request.must_call or _one_call_only(request) or _is_json(request) or bool(parameters_of(request.offered_tools))
    )


def _one_call_only(request: ChatRequest) -> bool:
    return request.parallel_tool_calls is False and bool(request.offered_tools)


def _is_json(request: ChatRequest) -> bool:
    wanted = request.response_format
    return wanted is not None and (wanted.kind == "json_object" or (wanted.kind == "json_schema" and wanted.strict))


def _schema(request: ChatRequest) -> Json | None:
    return request.response_format.schema if request.response_format else None


def check(request: ChatRequest) -> None:
    """Raise BadRequest for a schema that no answer can be held to."""
    schema = _schema(request)
    if _is_json(request) and schema is not None:
        try:
            schemas.checked(schema)
        except schemas.BadSchema as error:
            raise _unusable(error) from error


class Answer:
    """One answer as it comes, held back while it may have to be asked for again. Pure."""

    def __init__(self, request: ChatRequest, kind: ServerKind) -> None:
        # Ollama sends a call whole, others in fragments of which the first has the name.
        self._calls_are_whole = kind is ServerKind.OLLAMA
        self._tools = frozenset(tool["function"]["name"] for tool in request.offered_tools if request.must_call)
        self._one_call = _one_call_only(request)
        self._strict = StrictCalls(request.offered_tools)
        self.is_json = _is_json(request)
        self._schema = _schema(request)
        self._stream = request.stream
        self._held: list[Delta] = []
        self._called = self._fits = self._left_out = False
        self.text = ""
        self.started = False

    def feed(self, delta: Delta) -> list[Delta]:
        """Return what may go out now."""
        if self._one_call and any(call.index for call in delta.tool_calls):
            self._left_out = True
            delta = replace(delta, tool_calls=tuple(call for call in delta.tool_calls if not call.index))
            if delta == Delta():
                return []
        self._strict.note(delta.tool_calls)
        self.text += delta.content
        self._called = self._called or bool(delta.tool_calls)
        self._fits = self._fits or any(self._is_fitting(call) for call in delta.tool_calls)
        self._held.append(delta)
        return [] if self._may_have_to_be_repeated() else self.release()

    def release(self) -> list[Delta]:
        """Return what was held back."""
        held, self._held = self._held, []
        self.started = self.started or bool(held)
        return held

    def end(self, finish: Finish, fault: "Fault | None" = None) -> list[Delta | Finish]:
        """Return what was held back, and the end, which tells of a fault that stays."""
        left_out = ("parallel_tool_calls",) if self._left_out else ()
        borne = (fault.param,) if fault else ()
        return [*self.release(), replace(finish, adjusted=(*finish.adjusted, *left_out, *borne))]

    def fault(self, finish: Finish) -> Fault | None:
        """Return what is wrong with the whole answer; one that was cut short says so by its finish_reason."""
        if finish.reason not in ("stop", "tool_calls"):
            return None
        if self._tools and not self._fits:
            return NO_CALL
        if problem := self._strict.problem():
            return _misfit(problem)
        if not self.is_json or self._called:
            return None
        problem = schemas.fault(self.text, self._schema)
        return None if problem is None else _no_json(problem)

    def _may_have_to_be_repeated(self) -> bool:
        if self._stream:
            return bool(self._tools) and not self._fits
        return bool(self._tools) or self.is_json or bool(self._strict)

    @property
    def takes_time(self) -> bool:
        """Whether it is held to a schema."""
        return self.is_json or bool(self._strict)

    def _is_fitting(self, call: ToolCallDelta) -> bool:
        if call.name not in self._tools or not self._calls_are_whole:
            return call.name in self._tools
        try:
            return isinstance(codec.loads(call.arguments or "{}"), dict)
        except ValueError:
            return False


NO_CALL = Fault(
    code="tool_choice_unfulfilled",
    param="tool_choice",
    message="The model was asked twice and did not call the function that 'tool_choice' requires. Ask another model, "
    "or send tool_choice 'auto'.",
    repair="You did not call a function. Call it now, and write no text.",
)


def _no_json(problem: str) -> Fault:
    return Fault(
        code="invalid_json_answer",
        param="response_format",
        message=f"The model's answer is not the JSON that 'response_format' requires: {problem}. Ask again, ask "
        "another model, or describe the wanted JSON in the prompt.",
        repair=f"That is not what was asked for: {problem}. Answer again, with the corrected JSON alone.",
    )


def _misfit(problem: str) -> Fault:
    return Fault(
        code="invalid_tool_arguments",
        param="tools.function.strict",
        message=f"What the model calls is not what 'tools' declares: {problem}.",
        repair=f"That is not what was asked for: {problem}. Call it again, with the corrected arguments.",
        may_stay=True,
    )


def repaired(request: ChatRequest, text: str, fault: Fault) -> ChatRequest:
    """Return the request that asks once more, with the answer and its fault."""
    answered = (Message(role="assistant", parts=(Text(text=text),)),) if text else ()
    demand = Message(role="user", parts=(Text(text=fault.repair),))
    return replace(request, messages=(*request.messages, *answered, demand))


# --- keeping it ----------------------------------------------------------------------------------------------


async def kept(
    request: ChatRequest, start: Callable[[ChatRequest], AsyncGenerator[Event]]
) -> AsyncGenerator[Event | Delta | Finish]:
    """Yield the events of ``start(request)``, or of a second try of it; raises EndpointError (PromiseBroken)."""
    spent: Usage | None = None
    asked, may_repeat = request, True
    while True:
        answer, fault, is_borne = Answer(request, ServerKind.OLLAMA), None, False
        async with aclosing(start(asked)) as events:
            async for event in events:
                if isinstance(event, Delta):
                    for piece in answer.feed(event):
                        yield piece
                elif isinstance(event, Finish):
                    spent = _sum(spent, event.usage)
                    fault = await _fault(answer, event)
                    is_borne = fault is not None and fault.may_stay and (answer.started or not may_repeat)
                    for last in answer.end(replace(event, usage=spent), fault) if is_borne or not fault else ():
                        yield last
                else:
                    if isinstance(event, Attempt):
                        answer = Answer(request, event.replica.server.kind)
                    yield event
        if fault is None or is_borne:
            return
        if answer.started or not may_repeat:
            raise fault.error()
        logger.info("answer is asked for again fault=%s", fault.code)
        asked, may_repeat = repaired(request, answer.text, fault), False


async def _fault(answer: Answer, finish: Finish) -> Fault | None:
    if not answer.takes_time:
        return answer.fault(finish)
    try:
        # Checking a large answer may take a while.
        return await asyncio.to_thread(answer.fault, finish)
    except schemas.BadSchema as error:
        raise _unusable(error) from error


def _unusable(error: schemas.BadSchema) -> EndpointError:
    return BadRequest(
        f"'response_format.json_schema.schema' is no JSON Schema that answers can be held to: {error}.",
        param="response_format",
        code="invalid_value",
    )


def _sum(one: Usage | None, other: Usage | None) -> Usage | None:
    return one + other if one and other else one or other
