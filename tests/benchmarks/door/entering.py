"""Who comes in, what they may ask for, and how much: keys, offer, limits."""

import datetime as dt
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

from django.utils import timezone

from gateway.auth import Caller
from gateway.consumers import ChatCompletions
from gateway.limits.claims import Spent
from gateway.limits.demand import chat_demand
from gateway.limits.entry import Entry, entry_of
from gateway.limits.limiter import Limiter
from gateway.offer import Offer
from gateway.policy import Limits
from routing.backends.protocol import Sampling
from routing.catalog import Catalog
from routing.decision import Decision
from routing.pool import shared_pool
from tests.benchmarks.door.installation import (
    ADDRESS,
    EXPERTS,
    FOUR,
    INSTALLED,
    KEY_TEXT,
    OF_GROUP,
    RATE,
    asking,
    caller,
)
from tests.benchmarks.door.setups import DEFAULT_COLUMN, OFF_COLUMN, ON_COLUMN, Setup, applied, forget, off
from tests.benchmarks.door.timing import Part, Variant

CROWD = 50


HEADERS = ((b"host", b"localhost:8000"), (b"content-type", b"application/json"), (b"user-agent", b"OpenAI/Python"))
KEY_HEADER = b"authorization", f"Bearer {KEY_TEXT}".encode()


def scope_of(*, key: bool) -> dict[str, Any]:
    """Return what daphne says of a chat, with a key or without."""
    return {
        "type": "http",
        "method": "POST",
        "path": "/v1/chat/completions",
        "query_string": b"",
        "headers": [*HEADERS, KEY_HEADER] if key else [*HEADERS],
        "client": (ADDRESS, 50_000),
        "scheme": "http",
    }


def door_of(*, key: bool) -> ChatCompletions:
    """Return a door that somebody stands before."""
    door = ChatCompletions()
    door.scope = scope_of(key=key)
    door.headers = {name: value.decode("latin-1") for name, value in door.scope["headers"]}
    door.request_id = "req_bench"
    return door


# --- keys -------------------------------------------------------------------------------------------------------


def recognising() -> Part:
    def variant(name: str, setup: Setup, *, column: str) -> Variant:
        door = door_of(key=setup.caller is not None)

        async def work() -> None:
            door.asker(await door.caller())

        return Variant(name=name, work=work, within=partial(applied, setup), after=forget, columns=(column,))

    return Part(
        name="recognised",
        note="a key found and looked at, its use noted, who asks as rules see it",
        variants=(
            variant("no key is asked for", off(), column=OFF_COLUMN),
            variant("a key", Setup(), column=DEFAULT_COLUMN),
            variant("a key and its group, models, addresses", Setup(caller=caller(narrow=True)), column=ON_COLUMN),
        ),
    )


# --- offer ------------------------------------------------------------------------------------------------------


def offering(known: Catalog) -> Part:
    names = ("auto", *EXPERTS, *INSTALLED)

    def check(who: Caller) -> None:
        Offer(caller=who, known=known).check_chat("auto")

    def listed(who: Caller) -> None:
        offer = Offer(caller=who, known=known)
        [offer.find(name) for name in names if offer.shows(name)]

    open_to_all, narrow = caller(), caller(narrow=True)
    return Part(
        name="offer",
        note="what a key may ask for",
        variants=(
            Variant(name="every model", work=partial(check, open_to_all), columns=(OFF_COLUMN, DEFAULT_COLUMN)),
            Variant(name="three patterns, key and group", work=partial(check, narrow), columns=(ON_COLUMN,)),
            Variant(name=f"a list of {len(names)}: every model", work=partial(listed, open_to_all)),
            Variant(
                name=f"a list of {len(names)}: three patterns",
                work=partial(listed, narrow),
                beside=f"a list of {len(names)}: every model",
            ),
        ),
    )


# --- limits -----------------------------------------------------------------------------------------------------

KINDS: dict[str, tuple[Limits, Limits | None]] = {
    "requests a minute": (RATE, None),
    "four kinds": (FOUR, None),
    "four kinds, and the group's": (FOUR, OF_GROUP),
}
_COLUMNS = {"four kinds, and the group's": (ON_COLUMN,)}


def limiting(decision: Decision, local: Limiter, shared: Limiter) -> Part:
    """Return what it costs to count; all go in, reserve, settle and leave, as their answer goes out."""
    request = asking("Say ok.", sampling=Sampling(max_tokens=200))

    def passing(who: Caller, limiter: Limiter) -> Any:
        async def work() -> None:
            if (entry := entry_of(who.policies)) is not None:
                await _passed(Entry(entry.limits, limiter=limiter), request, decision)

        return work

    def variants(where: str, limiter: Limiter, together: int = 1) -> Iterator[Variant]:
        for kind, (key, group) in KINDS.items():
            is_summed = limiter is local and together == 1
            yield Variant(
                name=f"{where}{kind}",
                work=passing(caller(key=key, group=group), limiter),
                together=together,
                columns=_COLUMNS.get(kind, ()) if is_summed else (),
            )

    nothing = Variant(name="none", work=passing(caller(), local), columns=(OFF_COLUMN, DEFAULT_COLUMN))
    everybody: Iterable[Variant] = (
        nothing,
        *variants("", local),
        *variants(f"{CROWD} at once: ", local, CROWD),
        *variants("Redis: ", shared),
        *variants(f"Redis, {CROWD} at once: ", shared, CROWD),
    )
    return Part(name="limits", note="counted, reserved, settled, told in headers, left", variants=tuple(everybody))


async def _passed(entry: Entry, request: Any, decision: Decision) -> None:
    came: dt.datetime = timezone.now()
    await entry.come_in()
    reservation = await entry.reserve(chat_demand(request, decision, shared_pool().tokens), came)
    entry.headers()
    if reservation:
        reservation.settle(Spent(tokens=20, cost=1))
    await entry.leave()
