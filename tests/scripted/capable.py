"""A scripted model that is good at choosing experts: it knows the answers, and is wrong as often as it is told."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from .recorded import Recorded
from .reply import Reply

_CONVERSATION = re.compile(r"<conversation>\n(.*)\n</conversation>", re.DOTALL)
_FIELD = re.compile(r"\[\[ ## (\w+) ## \]\]")


@dataclass(frozen=True, slots=True, kw_only=True)
class CapableModel:
    """Answers by ``table`` (prompt → expert), wrong in a share ``errors`` of the prompts, the same ones each time.

    Where it sees neither a demonstration nor ``advice`` it is wrong in a share ``untaught`` of them. Asked for anything
    else, as an optimizer asks for instructions, it gives that advice. Use it as a server's ``default_reply``.
    """

    table: Mapping[str, str]
    errors: float = 0.1
    untaught: float | None = None
    seed: str = "1"
    delay: float = 0.0
    advice: str = "Choose the expert by what is to be done with which material."

    def __call__(self, recorded: Recorded) -> Reply:
        messages = recorded.json["messages"]
        question = messages[-1]["content"]
        match = _CONVERSATION.fullmatch(question)
        expert = self.table.get(match.group(1)) if match else None
        if expert is None:
            return Reply(content=self._advised(question))
        taught = any(message["role"] == "assistant" or self.advice in message["content"] for message in messages)
        errors = self.errors if taught or self.untaught is None else self.untaught
        draw = self._share(question)
        if draw < errors:
            others = sorted(set(self.table.values()) - {expert})
            expert = others[int(draw * 1e6) % len(others)]
        confidence = round(0.6 + 0.4 * self._share(question[::-1]), 2)
        answer = {"expert": expert, "confidence": confidence, "reason": "it is in the table"}
        return Reply(content=json.dumps(answer), first_delay=self.delay)

    def _advised(self, question: str) -> str:
        """Return the advice in the form that DSPy asks for: in each of the fields it names."""
        wanted = question.rpartition("Respond with")[2]
        if wanted.startswith(" a JSON object"):
            return json.dumps(dict.fromkeys(re.findall(r"`(\w+)`", wanted), self.advice))
        return "\n\n".join(f"[[ ## {name} ## ]]\n{self.advice}" for name in _FIELD.findall(wanted))

    def _share(self, text: str) -> float:
        """Return a number from 0 to 1 that follows from the text and the seed."""
        digest = hashlib.sha256(f"{self.seed}\t{text}".encode()).digest()
        return int.from_bytes(digest[:6], "big") / 2**48
