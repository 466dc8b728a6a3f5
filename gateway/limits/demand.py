"""What a request may take, before anybody has counted: its prompt by estimate, its answer by what it permits. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gateway.limits.claims import cost_units
from gateway.usage.costs import cost_of
from routing.backends.generation import TextRequest
from routing.backends.protocol import ChatRequest, Usage
from routing.catalog import Expert
from routing.decision import Decision
from routing.tokens import TokenCounter, estimate, estimate_text

ANSWER_GUESS = 500
"""Tokens that an answer is taken to have whose request sets no limit to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """Tokens, and cost in COST_UNIT. ``least`` are those that are taken in any case, whatever the answer's length."""

    tokens: int
    least: int
    cost: int = 0
    least_cost: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of an expert; ``is_guess`` is whether nobody limits its answer."""

    expert: Expert
    prompt: int
    answer: int
    is_guess: bool = False


def chat_demand(request: ChatRequest, decision: Decision, counter: TokenCounter) -> Demand:
    """Return what a chat may take; of several experts that answer together each reads it all, for each answer."""
    estimated = estimate(request.messages, request.offered_tools)
    if decision.plan is None:
        return _together([_chat_call(request, decision.expert, estimated, counter, answers=request.n)])
    calls = [_chat_call(request, expert, estimated, counter) for expert in decision.plan.answering]
    return _together(calls * request.n)


def text_demand(request: TextRequest, decision: Decision, counter: TokenCounter) -> Demand:
    """Return what completions of all of a request's prompts may take."""
    expert = decision.expert
    most = _most_tokens(request.chat, expert)
    answer, is_guess = most or ANSWER_GUESS, most is None
    suffix = estimate_text(request.suffix) if request.suffix else 0.0
    return _together(
        Call(
            expert=expert,
            prompt=_likely(estimate_text(text) + suffix, expert, counter),
            answer=answer,
            is_guess=is_guess,
        )
        for text in request.prompts
    )


def embedding_demand(texts: Sequence[str], expert: Expert, counter: TokenCounter) -> Demand:
    """Return what embeddings of ``texts`` take: they are read, and nothing is written."""
    estimated = sum(map(estimate_text, texts))
    return _together([Call(expert=expert, prompt=_likely(estimated, expert, counter), answer=0)])


def _chat_call(
    request: ChatRequest, expert: Expert, estimated: float, counter: TokenCounter, *, answers: int = 1
) -> Call:
    if expert.system_prompt and not any(message.role in ("system", "developer") for message in request.messages):
        estimated += estimate_text(expert.system_prompt)
    most = _most_tokens(request, expert)
    return Call(
        expert=expert,
        prompt=_likely(estimated, expert, counter),
        answer=(most or ANSWER_GUESS) * answers,
        is_guess=most is None,
    )


def _most_tokens(request: ChatRequest, expert: Expert) -> int | None:
    """Return the tokens that an answer may have at most, by the client's word or the expert's defaults."""
    said = (request.sampling.max_tokens, request.options.get("num_predict"), expert.defaults.get("max_tokens"))
    return next((value for value in said if isinstance(value, int) and value > 0), None)


def _likely(estimated: float, expert: Expert, counter: TokenCounter) -> int:
    model = expert.replicas[0].model if expert.replicas else ""
    calibration = counter.models.get(model)
    return max(1, calibration.likely(estimated) if calibration else int(estimated))


def _together(calls: Iterable[Call]) -> Demand:
    tokens = least = cost = least_cost = 0
    for call in calls:
        surely = 1 if call.is_guess else call.answer
        tokens += call.prompt + call.answer
        least += call.prompt + surely
        cost += _cost(call, call.answer)
        least_cost += _cost(call, surely)
    return Demand(tokens=tokens, least=least, cost=cost, least_cost=least_cost)


def _cost(call: Call, answer: int) -> int:
    return cost_units(cost_of(Usage(prompt_tokens=call.prompt, completion_tokens=answer), call.expert))
