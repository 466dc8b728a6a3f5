"""A cascade: the smallest expert answers, and a larger one where it is not confident."""

import asyncio
import logging
from contextlib import aclosing

from routing.backends.protocol import ChatRequest
from routing.exceptions import EndpointError
from routing.mixture import confidence
from routing.mixture.answering import Answer, Answering
from routing.mixture.branch import Branch
from routing.mixture.parts import Role

logger = logging.getLogger("routing")


class Cascade(Answering):
    """Takes in each answer whole and passes it on if it is confident enough; the last expert's streams as it comes."""

    async def _answer(self, request: ChatRequest) -> Answer:
        *steps, last = self._plan.members
        for expert in steps:
            branch = self._branch(Role.STEP, expert)
            await self._collect(branch, request)
            await self._check(branch, request)
            if branch.confidence is not None and branch.confidence >= self._plan.mixing.confidence:
                yield self.parts
                async with aclosing(self._given(branch, request)) as given:
                    async for event in given:
                        yield event
                return
            self._expansions += 1
        branch = self._branch(Role.STEP, last)
        yield self.parts
        try:
            async with aclosing(self._streamed(branch, request)) as events:
                async for event in events:
                    yield event
        except EndpointError as error:
            if branch.has_begun:
                raise
            async with aclosing(self._instead(branch, error, request)) as given:
                async for event in given:
                    yield event

    async def _instead(self, branch: Branch, error: EndpointError, request: ChatRequest) -> Answer:
        """Pass on the best answer of the steps before the last one, which failed; raises the first failure if none."""
        answers = [one for one in self._branches if one.role is Role.STEP and one.has_answered]
        if not answers:
            raise self._first_failure()
        best = self._best(answers)
        note = f"{branch.expert.slug} failed ({error.code or error.type})"
        logger.warning("answer of an earlier step is given reason=%s", note)
        self._notes.append(f"{note}; the answer of {best.expert.slug} is given though it is not confident enough")
        async with aclosing(self._given(best, request)) as given:
            async for event in given:
                yield event

    async def _check(self, branch: Branch, request: ChatRequest) -> None:
        """Ask the expert how sure it is of its answer, where its server tells no probabilities.

        What goes wrong leaves the confidence unknown, which is not enough.
        """
        if not branch.has_answered or branch.confidence is not None:
            return
        check = self._branch(Role.CHECK, branch.expert)
        source = self._events(branch.expert, confidence.self_check(request, branch.text))
        try:
            async with asyncio.timeout(self._plan.mixing.patience):
                await check.collect(source)
        except TimeoutError:
            check.give_up()
        branch.confidence = confidence.of_words(check.text) if check.has_answered else None
        branch.signal = "self-check"
