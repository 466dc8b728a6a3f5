"""A mixture: several experts answer at the same time, and an aggregator makes their answers one."""

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import aclosing

from routing.backends.protocol import ChatRequest
from routing.catalog import Expert, Mode
from routing.decision import Decision
from routing.exceptions import EndpointError
from routing.mixture.agreement import agreement_of
from routing.mixture.answering import Answer, Answering
from routing.mixture.branch import Branch
from routing.mixture.cascading import Cascade
from routing.mixture.parts import Role, Status
from routing.mixture.plan import Plan
from routing.mixture.synthesis import synthesis
from routing.pool import Pool
from routing.room import room_for

logger = logging.getLogger("routing")


def answering(pool: Pool, decision: Decision, plan: Plan, *, tenant: str, weight: float = 1.0) -> Answering:
    """Return what runs ``plan`` for one answer."""
    kind = Mixture if plan.mode is Mode.MIXTURE else Cascade
    return kind(pool, decision, plan, tenant=tenant, weight=weight)


class Mixture(Answering):
    """Asks, asks further experts while the answers differ or are not confident, and has them made one."""

    async def _answer(self, request: ChatRequest) -> Answer:
        await self._gather(request)
        answers = self._answers()
        yield self.parts
        if not answers:
            raise self._first_failure()
        source = self._synthesised(request, answers) if len(answers) > 1 else self._given(answers[0], request)
        async with aclosing(source) as events:
            async for event in events:
                yield event

    def _again(self, speaker: Branch, request: ChatRequest) -> Answer:
        if speaker.role is Role.AGGREGATOR:
            return self._synthesised(request, self._answers())
        return super()._again(speaker, request)

    def _answers(self) -> list[Branch]:
        return [branch for branch in self._branches if branch.role is Role.MEMBER and branch.has_answered]

    # --- the members ------------------------------------------------------------------------------------------------

    async def _gather(self, request: ChatRequest) -> None:
        """Ask members until their answers agree and are confident, twice as many each time, or all were asked."""
        members, asked, wanted = self._plan.members, 0, self._plan.mixing.breadth
        while True:
            await self._ask(members[asked:wanted], request)
            asked = min(wanted, len(members))
            self._agreement, note = await agreement_of([branch.text for branch in self._answers()])
            if note and note not in self._notes:
                self._notes.append(note)
            if asked == len(members) or not self._is_doubtful():
                return
            wanted = 2 * asked
            self._expansions += 1

    def _is_doubtful(self) -> bool:
        """Tell whether further experts should be asked: nobody answered, or a measure is below its threshold."""
        answers = self._answers()
        known = [branch.confidence for branch in answers if branch.confidence is not None]
        mixing = self._plan.mixing
        return (
            not answers
            or (self._agreement is not None and self._agreement < mixing.agreement)
            or (bool(known) and sum(known) / len(known) < mixing.confidence)
        )

    async def _ask(self, members: Sequence[Expert], request: ChatRequest) -> None:
        """Ask ``members`` at the same time, and return when each has answered, failed or been given up."""
        branches = [self._branch(Role.MEMBER, expert) for expert in members]
        tasks = {asyncio.create_task(self._collect(branch, request)): branch for branch in branches}
        try:
            await self._wait(tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _wait(self, tasks: "Mapping[asyncio.Task[None], Branch]") -> None:
        pending = set(tasks)
        until: float | None = None
        while pending:
            if until is None and self._half_have_answered():
                until = time.monotonic() + self._plan.mixing.patience
            left = None if until is None else max(0.0, until - time.monotonic())
            done, pending = await asyncio.wait(pending, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()  # an error nobody foresaw is not taken for a failure of the expert
            if not done:
                break
        for task in pending:
            tasks[task].give_up()

    def _half_have_answered(self) -> bool:
        members = [branch for branch in self._branches if branch.role is Role.MEMBER]
        running = sum(branch.status is Status.RUNNING for branch in members)
        answered = len(self._answers())
        return bool(answered) and answered >= running

    # --- the aggregator ---------------------------------------------------------------------------------------------

    async def _synthesised(self, request: ChatRequest, answers: Sequence[Branch]) -> Answer:
        """Pass on what the aggregator makes of ``answers``, or the best of them where it cannot say a word."""
        aggregator = self._plan.aggregator
        room = await room_for(request, aggregator, self._decision.needs, self._pool)
        texts = [branch.text for branch in answers]
        found = synthesis(
            request, texts, system_prompt=aggregator.system_prompt, words=self._plan.mixing.prompt, room=room
        )
        if found is None:
            note = f"the window of {aggregator.slug} ({room.window} tokens) has no room for the answers"
        else:
            for place in found.cut:
                answers[place].status = Status.CUT
            branch = self._branch(Role.AGGREGATOR, aggregator)
            try:
                async with aclosing(self._streamed(branch, found.request)) as events:
                    async for event in events:
                        yield event
                return
            except EndpointError as error:
                if branch.has_begun:
                    raise
                note = f"the aggregator {aggregator.slug} failed ({error.code or error.type})"
        logger.warning("best answer is given as it is reason=%s", note)
        best = self._best(answers)
        self._notes.append(f"{note}; the answer of {best.expert.slug} is given as it is")
        async with aclosing(self._given(best, request)) as given:
            async for event in given:
                yield event
