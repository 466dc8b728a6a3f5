"""The scripts that Redis runs, each in one step, and what they are told."""

import functools
import hashlib
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path

from gateway.limits.claims import Claim, Spent, Standing, Taken

LEASE_MS = 30_000
"""How long a process that is gone keeps what its requests held."""
FIELDS = 5
REFUSED = -2
PREFIX = "{moe}:limit:"  # in braces: on a cluster all of a call's keys must be in one place


class Script(StrEnum):
    TAKE = "take"
    SETTLE = "settle"
    RENEW = "renew"

    @property
    def text(self) -> str:
        return _text(self)

    @property
    def digest(self) -> str:
        """What Redis calls the script."""
        return _digest(self)


@functools.cache
def _text(script: Script) -> str:
    folder = Path(__file__).parent
    return (folder / "window.lua").read_text() + (folder / f"{script.value}.lua").read_text()


@functools.cache
def _digest(script: Script) -> str:
    return hashlib.sha1(_text(script).encode(), usedforsecurity=False).hexdigest()


Asked = tuple[list[str], str]
"""Keys, two for each claim, and the other arguments as one text."""
OWN_CLOCK = "-"
"""Redis' own clock, in place of a time."""


def take_arguments(claims: Sequence[Claim], lease: str, now: str | int) -> Asked:
    words: list[str | int] = [now, lease, LEASE_MS]
    for claim in claims:
        limit = claim.limit
        words += (int(limit.rule.kind), limit.most, claim.amount, claim.least, claim.known)
    return _keys(claims), _text_of(words)


def taken(claims: Sequence[Claim], answer: bytes) -> Taken:
    """Return what take.lua answered."""
    numbers = [int(word) for word in answer.split()]
    rows = (numbers[first : first + FIELDS] for first in range(0, len(numbers), FIELDS))
    return Taken(
        tuple(
            Standing(claim, None if granted == REFUSED else granted, used, wait=wait, reset=reset, mark=mark)
            for claim, (granted, used, wait, reset, mark) in zip(claims, rows, strict=True)
        )
    )


def settle_arguments(held: Sequence[Standing], lease: str, spent: Spent | None, now: str | int) -> Asked:
    words: list[str | int] = [now, lease]
    for standing in held:
        rule = standing.claim.limit.rule
        amount = spent.of(rule.unit) if spent else 0
        words += (int(rule.kind), standing.granted or 0, amount, standing.mark)
    return _keys([standing.claim for standing in held]), _text_of(words)


def renew_arguments(held: Sequence[Standing], lease: str, now: str | int) -> Asked:
    words: list[str | int] = [now, lease, LEASE_MS]
    for standing in held:
        words += (int(standing.claim.limit.rule.kind), standing.granted or 0)
    return _keys([standing.claim for standing in held]), _text_of(words)


def _text_of(words: Sequence[str | int]) -> str:
    return " ".join(map(str, words))


def _keys(claims: Sequence[Claim]) -> list[str]:
    keys: list[str] = []
    for claim in claims:
        key = PREFIX + claim.key
        keys += (key, f"{key}:held")
    return keys
