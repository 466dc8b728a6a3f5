"""How many tokens a prompt has, before a model server counted it. Pure.

An estimate by kinds of characters, corrected for each model by what its server counted for earlier prompts.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from routing.backends import codec
from routing.backends.protocol import Json, Message

# Measured for byte-pair vocabularies of 32,000 to 150,000 pieces: English runs at 4.2 characters a token, code at 3.3,
# other alphabets at 2 to 3, and scripts such as Chinese at 0.8 to 1.5.
ASCII_PER_TOKEN = 3.8
ALPHABET_PER_TOKEN = 2.2
IDEOGRAPH_PER_TOKEN = 1.1
TOKENS_PER_MESSAGE = 5.0  # role and separators of a chat template

_ASCII = re.compile(r"[\x00-\x7f]+")
_IDEOGRAPHS = re.compile("[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff]+")


def estimate_text(text: str) -> float:
    """Return roughly how many tokens ``text`` has."""
    if text.isascii():
        return len(text) / ASCII_PER_TOKEN
    ascii_count = sum(len(run) for run in _ASCII.findall(text))
    ideographs = sum(len(run) for run in _IDEOGRAPHS.findall(text))
    others = len(text) - ascii_count - ideographs
    return ascii_count / ASCII_PER_TOKEN + ideographs / IDEOGRAPH_PER_TOKEN + others / ALPHABET_PER_TOKEN


def estimate(messages: Iterable[Message], tools: Sequence[Json] = ()) -> float:
    """Return roughly how many tokens a prompt has; images are not counted."""
    total = 0.0
    for message in messages:
        total += TOKENS_PER_MESSAGE + estimate_text(message.text) + estimate_text(message.reasoning)
        total += sum(estimate_text(call.name) + estimate_text(call.arguments) for call in message.tool_calls)
    return total + (estimate_text(codec.dumps(list(tools)).decode()) if tools else 0.0)


@dataclass(slots=True)
class Calibration:
    """What a model's own counts were, as a share of the estimates; exponentially weighted."""

    ratio: float = 1.0
    samples: int = 0
    spread: float = 0.35

    def learn(self, estimated: float, counted: int) -> None:
        if estimated < 20 or counted <= 0:
            return  # a short prompt is mostly template
        seen = min(max(counted / estimated, 0.2), 5.0)
        pace = max(0.1, 1.0 / (self.samples + 1))
        self.spread += pace * (abs(seen - self.ratio) / max(self.ratio, 0.01) - self.spread) if self.samples else 0.0
        self.ratio += pace * (seen - self.ratio)
        self.samples += 1

    def at_least(self, estimated: float) -> int:
        """Return a count that the prompt surely reaches: what an estimate may be refused on."""
        doubt = min(0.5, max(0.15, 2 * self.spread)) if self.samples >= 3 else 0.5
        return int(estimated * self.ratio * (1 - doubt))

    def likely(self, estimated: float) -> int:
        return int(estimated * self.ratio)


@dataclass(slots=True)
class TokenCounter:
    """Calibrations by model tag."""

    models: dict[str, Calibration] = field(default_factory=dict)

    def of(self, model: str) -> Calibration:
        return self.models.setdefault(model, Calibration())
