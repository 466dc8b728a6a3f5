"""What looks at texts: guards on what comes in and on what is answered, and the caches of answers."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial
from typing import Any

from gateway.auth import Caller
from gateway.caching.digests import asked_of
from gateway.caching.looking import looking_of
from gateway.guards.guarding import guarding_for
from gateway.guards.outgoing import given
from routing.backends.protocol import ChatEvent, ChatRequest, Delta, Finish, Sampling, Usage
from routing.decision import Decision
from routing.features import Asker
from tests.benchmarks.door.installation import FEW, MANY, asking, caller, every_guard, fresh, masking, pieces, prose
from tests.benchmarks.door.setups import DEFAULT_COLUMN, OFF_COLUMN, ON_COLUMN, Setup, applied, forget
from tests.benchmarks.door.timing import Part, Variant

ANONYMOUS = Caller()
NO_SIZE = {"INPUT_CHARACTERS_MOST": 0}


def guard_setups() -> dict[str, Setup]:
    return {
        "none": Setup(settings=NO_SIZE),
        "size (default)": Setup(),
        "secrets and personal data, masked": Setup(guards=masking()),
        "all": Setup(guards=every_guard()),
    }


_COLUMNS = {"none": OFF_COLUMN, "size (default)": DEFAULT_COLUMN, "all": ON_COLUMN}

# --- guards -----------------------------------------------------------------------------------------------------


def guarding_input(kilobytes: int) -> Part:
    request = asking(prose(kilobytes * 1024))

    async def work() -> None:
        guarding = await guarding_for("auto", ANONYMOUS)
        await guarding.chat(request)

    return Part(
        name=f"guards: a prompt of {kilobytes} kB",
        note="nothing is found in it" if kilobytes < 20 else "as above; so long a text is looked at in a thread",
        variants=tuple(
            Variant(
                name=name,
                work=work,
                within=partial(applied, setup),
                columns=(_COLUMNS[name],) if kilobytes == 1 and name in _COLUMNS else (),
            )
            for name, setup in guard_setups().items()
        ),
    )


def guarding_output() -> Part:
    """Return what guards cost of an answer: each of a stream's pieces, and a small one that is collected."""
    setups = guard_setups()
    del setups["size (default)"]
    return Part(
        name="guards: an answer",
        note=f"in {FEW} pieces and not streamed; then a piece of a stream of {MANY}",
        variants=(
            *(_guarded(name, setup, FEW, columns=_ANSWERED.get(name, ())) for name, setup in setups.items()),
            *(_guarded(f"a piece: {name}", setup, MANY, beside="a piece: none") for name, setup in setups.items()),
        ),
    )


def _guarded(name: str, setup: Setup, count: int, *, beside: str = "", columns: tuple[str, ...] = ()) -> Variant:
    request = asking(prose(100), stream=count == MANY)
    deltas = [Delta(content=piece) for piece in pieces(count)]

    async def work() -> None:
        await _given(deltas, request)

    return Variant(
        name=name,
        work=work,
        within=partial(applied, setup),
        times=count if count == MANY else 1,
        beside=beside,
        columns=columns,
    )


_ANSWERED = {"none": (OFF_COLUMN, DEFAULT_COLUMN), "all": (ON_COLUMN,)}


async def _given(deltas: list[Delta], request: ChatRequest) -> None:
    guarding = await guarding_for("auto", ANONYMOUS)
    account: Any = None  # is asked only of an answer that was refused
    async with aclosing(given(guarding, _said(deltas), account, request, answers=1)) as events:
        async for _ in events:
            pass


async def _said(deltas: list[Delta]) -> AsyncGenerator[ChatEvent]:
    for delta in deltas:
        yield delta
    yield Finish(reason="stop", usage=Usage(prompt_tokens=12, completion_tokens=len(deltas)))


# --- caches -----------------------------------------------------------------------------------------------------

EXACT = Sampling(temperature=0)
ANSWER = [Delta(content=piece) for piece in pieces(FEW)]


def caching(decision: Decision) -> tuple[Part, Part]:
    """Return what the digest of a request costs, and what looking for its answer does."""
    whose = {"key_id": 1, "profile": "auto"}

    def digest(request: ChatRequest) -> None:
        asked_of(request, decision, **whose)  # type: ignore[arg-type]

    digests = tuple(
        Variant(name=f"{size} kB", work=partial(digest, asking(prose(size * 1024), sampling=EXACT))) for size in (1, 20)
    )
    text = prose(1024)
    request = asking(text, sampling=EXACT)

    async def same() -> None:
        await _looked(request, decision)

    async def another() -> None:
        await _looked(asking(fresh(text), sampling=EXACT), decision)

    exact = partial(applied, Setup(settings={"RESPONSE_CACHE": "exact"}))
    return (
        Part(name="cache: digest", note="of a request, and of all that has a part in its answer", variants=digests),
        Part(
            name="cache",
            note="a small answer; a miss asks the table, which is empty, and keeps the answer",
            variants=(
                Variant(name="off", work=same, within=partial(applied, Setup()), columns=(OFF_COLUMN, DEFAULT_COLUMN)),
                Variant(name="hit", work=same, within=exact),
                Variant(name="miss", work=another, within=exact, after=forget, columns=(ON_COLUMN,)),
            ),
        ),
    )


async def _looked(request: ChatRequest, decision: Decision) -> None:
    looking = looking_of(request, decision, caller(), Asker())
    found = _said(ANSWER) if looking is None else looking.answers(request, lambda: _said(ANSWER), grounded=None)
    async with aclosing(found) as events:
        async for _ in events:
            pass
