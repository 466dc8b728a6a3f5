"""A guard as requests are held to it: a row, compiled once. Pure."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.guards import credentials, personal
from gateway.guards.findings import Action, Place
from gateway.guards.judging import SECONDS, TURNS, Judge
from gateway.guards.options import REFUSAL
from gateway.guards.patterns import Patterns
from gateway.guards.spoken import Spoken
from gateway.guards.wordlist import wordlist
from knowledge.signals import LABELS


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """The most that a request may hold; tokens are an estimate."""

    characters: int | None = None
    tokens: int | None = None

    def beyond(self, characters: int, tokens: Callable[[], float]) -> tuple[str, str] | None:
        """Return of what a request has too much, and in words how much; None where it has not."""
        if self.characters and characters > self.characters:
            return "characters", too_long("characters", characters, self.characters)
        if self.tokens and (count := tokens()) > self.tokens:
            return "tokens", too_long("tokens (about)", int(count), self.tokens)
        return None


def too_long(what: str, has: int, most: int) -> str:
    return f"it has {has:,} {what}, and {most:,} are the most"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signals:
    """Signals of passages (knowledge/signals) that count."""

    names: frozenset[str]


Work = Patterns | Spoken | Size | Signals | Judge


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """``work`` is the check itself; ``profile`` None: every request.

    ``fails_open`` lets pass what the check could not tell of. ``refusal`` is said in the place of an answer.
    ``restores`` gives the client back what was masked in its request.
    """

    name: str
    check: str
    work: Work
    places: frozenset[Place]
    action: Action
    profile: str | None = None
    fails_open: bool = False
    refusal: str = REFUSAL
    restores: bool = False

    @property
    def refuses(self) -> bool:
        return self.action is Action.REFUSE


@dataclass(frozen=True, slots=True, kw_only=True)
class Guards:
    """All guards, in their order; ``by_profile`` has those of each profile that has guards of its own."""

    everywhere: tuple[Guard, ...] = ()
    by_profile: Mapping[str, tuple[Guard, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, guards: Iterable[Guard]) -> "Guards":
        guards = tuple(guards)
        profiles = {guard.profile for guard in guards if guard.profile is not None}
        return cls(
            everywhere=tuple(guard for guard in guards if guard.profile is None),
            by_profile={
                profile: tuple(guard for guard in guards if guard.profile in (None, profile)) for profile in profiles
            },
        )

    def for_model(self, name: str) -> tuple[Guard, ...]:
        """Return the guards of a request for ``name``: a profile's, or those of every request."""
        return self.by_profile.get(name, self.everywhere)


def made(
    *,
    name: str,
    check: str,
    places: Iterable[str],
    action: str,
    settings: Mapping[str, Any],
    profile: str | None = None,
    expert: str = "",
) -> Guard:
    """Return the guard of a row whose settings have been checked (options.py); raises ValueError."""
    does = Action(action)
    return Guard(
        name=name,
        check=check,
        work=_work(name, check, settings, expert),
        places=frozenset(map(Place, places)),
        action=does,
        profile=profile,
        fails_open=settings.get("fail", "open" if does is Action.LOG else "closed") == "open",
        refusal=settings.get("refusal", REFUSAL),
        restores=bool(settings.get("restore")),
    )


def _work(name: str, check: str, settings: Mapping[str, Any], expert: str) -> Work:
    match check:
        case "size":
            return Size(characters=settings.get("characters"), tokens=settings.get("tokens"))
        case "language":
            return Spoken(frozenset(settings["languages"]))
        case "secrets":
            return credentials.secrets(frozenset(settings.get("kinds", credentials.KINDS)))
        case "personal":
            return personal.personal(frozenset(settings.get("kinds", personal.USUAL)))
        case "injection":
            return Signals(names=frozenset(settings.get("signals", LABELS)))
        case "words":
            words, patterns = settings.get("words", ()), settings.get("patterns", ())
            return wordlist(words, patterns, settings.get("mask", "WORD"), owner=name)
        case "expert":
            return _judge(settings, expert)
    raise ValueError(f"there is no check “{check}”")


def _judge(settings: Mapping[str, Any], expert: str) -> Judge:
    return Judge(
        expert=expert,
        prompt=settings.get("prompt", ""),
        form=settings.get("verdict", "auto"),
        categories=frozenset(settings.get("categories", ())),
        seconds=settings.get("seconds", SECONDS),
        turns=settings.get("turns", TURNS),
    )
