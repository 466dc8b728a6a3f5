"""What mixtures and cascades have in common: asking experts of a plan, passing an answer on, telling the parts."""

import time
from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import aclosing
from dataclasses import replace

from routing.backends.protocol import ChatEvent, ChatRequest, Delta, Finish, Usage
from routing.catalog import Expert
from routing.decision import Decision
from routing.exceptions import EndpointError, Unavailable
from routing.mixture import confidence
from routing.mixture.branch import Branch, Event, empty_answer
from routing.mixture.parts import Parts, Role
from routing.mixture.plan import Plan
from routing.pool import Pool, PromptCut
from routing.trial import Attempt

Answer = AsyncGenerator[Attempt | PromptCut | Parts | ChatEvent]


class Answering:
    """One answer by several experts; ``parts`` tells at any time what became of each.

    Every expert is asked through the pool with its own replicas, but without its fallbacks, which may be asked
    themselves.
    """

    def __init__(self, pool: Pool, decision: Decision, plan: Plan, *, tenant: str, weight: float = 1.0) -> None:
        self._pool = pool
        self._decision = decision
        self._plan = plan
        self._tenant = tenant
        self._weight = weight
        self._branches: list[Branch] = []
        self._counted = 0  # branches whose tokens an earlier Finish told
        self._began = time.monotonic()
        self._speaker: Branch | None = None
        self._agreement: float | None = None
        self._expansions = 0
        self._notes: list[str] = []

    @property
    def parts(self) -> Parts:
        return Parts(
            parts=tuple(branch.part() for branch in self._branches),
            agreement=self._agreement,
            expansions=self._expansions,
            notes=tuple(self._notes),
        )

    async def chat(self, request: ChatRequest) -> Answer:
        """Yield an Attempt for who speaks, Parts, and the answer's events; raises EndpointError.

        The Finish has the usage of all parts. Asked once more, as for an answer that broke a promise, whoever spoke
        answers again, and nobody else.
        """
        if request.tools:  # none may be called; llama.cpp gives no probabilities beside them
            request = replace(request, tools=(), tool_choice=None, parallel_tool_calls=None)
        source = self._answer(request) if self._speaker is None else self._again(self._speaker, request)
        async with aclosing(source) as events:
            async for event in events:
                if isinstance(event, Finish):
                    yield self.parts
                    event = replace(event, usage=self._newly_counted())
                yield event

    def _answer(self, request: ChatRequest) -> Answer:
        raise NotImplementedError

    def _again(self, speaker: Branch, request: ChatRequest) -> Answer:
        return self._streamed(self._branch(speaker.role, speaker.expert), request)

    # --- asking -----------------------------------------------------------------------------------------------------

    def _branch(self, role: Role, expert: Expert) -> Branch:
        branch = Branch(role, expert, began=self._began)
        self._branches.append(branch)
        return branch

    def _events(self, expert: Expert, request: ChatRequest) -> AsyncGenerator[Event]:
        narrowed = replace(self._decision, expert=expert, fallbacks=(), plan=None)
        return self._pool.chat(narrowed, request, tenant=self._tenant, weight=self._weight)

    async def _collect(self, branch: Branch, request: ChatRequest) -> None:
        """Take in a whole answer, and how probable its tokens were where the server tells."""
        await branch.collect(self._events(branch.expert, measured(request)))
        self._measure(branch)
        if branch.prompt_cut:
            self._notes.append(f"{branch.expert.slug} read only a part of the prompt")

    def _measure(self, branch: Branch) -> None:
        branch.confidence = confidence.of_tokens(branch.deltas) if branch.has_answered else None
        branch.signal = "" if branch.confidence is None else "logprobs"

    async def _streamed(self, branch: Branch, request: ChatRequest) -> Answer:
        """Pass an answer on as it comes. Raises EndpointError, also for an answer without a single piece."""
        self._speaker = branch
        async with aclosing(branch.through(self._events(branch.expert, measured(request)))) as events:
            async for event in events:
                if isinstance(event, Finish):
                    if not branch.has_begun:
                        branch.fail(empty_answer())
                        raise empty_answer()
                    self._measure(branch)
                for shown in for_client(event, request):
                    yield shown

    async def _given(self, branch: Branch, request: ChatRequest) -> Answer:
        """Pass on an answer that was taken in before."""
        assert branch.attempt is not None
        assert branch.finish is not None
        self._speaker = branch
        yield branch.attempt
        if branch.prompt_cut:
            yield branch.prompt_cut
        for delta in branch.deltas:
            for shown in for_client(delta, request):
                yield shown
        yield branch.finish

    # --- what came of it --------------------------------------------------------------------------------------------

    def _best(self, branches: Iterable[Branch]) -> Branch:
        """Return the most confident answer; where nobody tells, the first: of who would have answered alone."""
        return max(branches, key=lambda branch: -1.0 if branch.confidence is None else branch.confidence)

    def _first_failure(self) -> EndpointError:
        failures = (branch.failure for branch in self._branches if branch.failure)
        return next(failures, Unavailable("No expert that was asked has answered. Try again later."))

    def _newly_counted(self) -> Usage | None:
        counted = replace(self.parts, parts=self.parts.parts[self._counted :]).usage
        self._counted = len(self._branches)
        return counted


def measured(request: ChatRequest) -> ChatRequest:
    """Return ``request`` with the probabilities of tokens asked for; servers without them pass it over."""
    return request if request.logprobs else replace(request, logprobs=True)


def for_client(event: Event, request: ChatRequest) -> Iterator[Event]:
    """Yield ``event`` as whoever sent ``request`` is to see it: with probabilities only if it asked for them."""
    if isinstance(event, Delta) and event.logprobs and not request.logprobs:
        event = replace(event, logprobs=())
        if event == Delta():
            return
    yield event
