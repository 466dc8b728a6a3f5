"""The program itself: a DSPy module that names the expert for a conversation.

This module, ``adapter`` and ``engine`` import DSPy, which takes half a second: whoever serves requests imports them in
a thread (see ``deciding``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import dspy

from routing.catalog import Expert
from routing.program.adapter import ChoiceAdapter
from routing.program.question import inputs_for, slugs_of
from routing.program.verdict import Verdict, read_answer

__all__ = ["ChooseExpert", "Verdict", "aask", "ask", "inputs_for", "module_from", "read_answer", "state_of"]


class Choice(dspy.Signature):
    """Choose the expert that should answer the last message of a conversation.

    Judge by what the person wants to have done, not by single words. If several fit, choose the most specific one.
    """

    experts: str = dspy.InputField(desc="one a line: the name, a colon, and what the expert is for")
    conversation: str = dspy.InputField(desc="what the person wrote; the last message counts most")
    expert: str = dspy.OutputField(desc="a name from the list")
    confidence: float = dspy.OutputField(desc="from 0 to 1")
    reason: str = dspy.OutputField(desc="a few words on what is wanted")


class ChooseExpert(dspy.Module):
    """Names one of ``experts`` for ``conversation``; see ``question.inputs_for`` for both.

    Its prediction has ``expert`` ("" where the model named none of them), ``confidence`` and ``reason``. It brings an
    adapter of its own, whatever is set around it: optimizers that ask other questions meanwhile keep theirs.
    """

    def __init__(self) -> None:
        super().__init__()
        self.choose = dspy.Predict(Choice)

    def forward(self, experts: str, conversation: str) -> Any:
        with dspy.context(adapter=ChoiceAdapter(slugs_of(experts))):
            return self.choose(experts=experts, conversation=conversation)

    async def aforward(self, experts: str, conversation: str) -> Any:
        with dspy.context(adapter=ChoiceAdapter(slugs_of(experts))):
            return await self.choose.acall(experts=experts, conversation=conversation)


def state_of(module: ChooseExpert) -> dict[str, Any]:
    """Return what is to be kept of a program as plain JSON: its instructions and demonstrations.

    Demonstrations are kept without the experts that were there when they were made: no prompt shows those.
    """
    state: dict[str, Any] = module.dump_state()
    for predictor in state.values():
        predictor |= {"traces": [], "train": [], "lm": None}
        predictor["demos"] = [
            {name: value for name, value in demo.items() if name != "experts"} for demo in predictor["demos"]
        ]
    return state


def module_from(state: Mapping[str, Any] | None) -> ChooseExpert:
    """Return the program of a state that ``state_of`` gave; without one, the program as it is written.

    Raises KeyError, TypeError or ValueError for a state that is none.
    """
    module = ChooseExpert()
    if state:
        module.load_state(dict(state))
    return module


def ask(module: ChooseExpert, prompt: str, experts: Iterable[Expert], lm: dspy.LM, **more: Any) -> Verdict | None:
    """Return what the program says of a message; ``more`` is for ``inputs_for``. Raises dspy.LMError."""
    inputs = inputs_for(prompt, experts, **more)
    with dspy.context(lm=lm, disable_history=True):
        return _verdict(module(**inputs), inputs["experts"])


async def aask(module: ChooseExpert, inputs: Mapping[str, str], lm: dspy.LM) -> Verdict | None:
    """Return what the program says of ``inputs``, without blocking. Raises dspy.LMError."""
    with dspy.context(lm=lm, disable_history=True):
        return _verdict(await module.acall(**inputs), inputs["experts"])


def _verdict(prediction: Any, experts: str) -> Verdict | None:
    return read_answer(dict(prediction.items()), slugs_of(experts))
