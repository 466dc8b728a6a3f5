"""A chat through the whole application: with everything off, one thing after the other, and everything on."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

from moe_site.asgi import routes
from tests.benchmarks.door.entering import scope_of
from tests.benchmarks.door.installation import FEW, FOUR, MANY, OF_GROUP, caller, chat, fresh, masking, prose
from tests.benchmarks.door.rest import sent, wrapped
from tests.benchmarks.door.setups import (
    AUTO,
    DEFAULT_COLUMN,
    OFF_COLUMN,
    ON_COLUMN,
    Setup,
    applied,
    default,
    everything,
    forget,
    off,
)
from tests.benchmarks.door.timing import Part, Variant

CROWD = 16
CHATS = wrapped(routes)
SETUPS: dict[str, Callable[[], Setup]] = {OFF_COLUMN: off, DEFAULT_COLUMN: default, ON_COLUMN: everything}
CACHED = "on, given again"
KEY = "+ a key"
BY_DEFAULT, ONLY_ON = (DEFAULT_COLUMN, ON_COLUMN), (ON_COLUMN,)


def chats() -> Part:
    """Return a chat with everything off, with one thing after the other, as installed, and with everything on."""
    text = prose(1024)

    def new() -> bytes:
        return chat(fresh(text), temperature=0)

    return Part(
        name="a chat",
        note=f"of 1 kB, answered in {FEW} pieces and not streamed, through the whole application; on: a cache miss",
        is_whole=True,
        variants=(
            _chat(OFF_COLUMN, off(), new),
            *(_chat(step.name, step.setup, new, step=step) for step in steps()),
            _chat(DEFAULT_COLUMN, default(), new),
            _chat(ON_COLUMN, everything(), new),
            _chat(CACHED, everything(), partial(chat, text, temperature=0)),
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing that is switched on where all else is off; ``beside`` is what it is switched on on top of, if that."""

    name: str
    setup: Setup
    columns: tuple[str, ...]
    beside: str = OFF_COLUMN


def steps() -> Iterator[Step]:
    none = off()
    key = replace(none, settings=none.settings | {"REQUIRE_API_KEY": True}, caller=caller())
    on = everything()
    yield Step(name=KEY, setup=key, columns=BY_DEFAULT)
    yield Step(
        name="+ group, models, addresses", setup=replace(key, caller=caller(narrow=True)), columns=ONLY_ON, beside=KEY
    )
    yield Step(
        name="+ four kinds of limits, and the group's",
        setup=replace(key, caller=caller(key=FOUR, group=OF_GROUP)),
        columns=ONLY_ON,
        beside=KEY,
    )
    yield Step(name="+ texts kept", setup=replace(key, caller=caller(keeps="key")), columns=ONLY_ON, beside=KEY)
    size = replace(none, settings={"REQUIRE_API_KEY": False})
    yield Step(name="+ size", setup=size, columns=BY_DEFAULT)
    yield Step(name="+ secrets and personal data, masked", setup=replace(none, guards=masking()), columns=())
    yield Step(name="+ all guards", setup=replace(none, guards=on.guards), columns=ONLY_ON)
    yield Step(name="+ decision kept", setup=replace(none, profile=AUTO), columns=BY_DEFAULT)
    yield Step(name="+ a line", setup=replace(none, log="line"), columns=(DEFAULT_COLUMN,))
    yield Step(name="+ a line in JSON", setup=replace(none, log="json"), columns=ONLY_ON)
    cached = replace(none, settings=none.settings | {"RESPONSE_CACHE": "exact"})
    yield Step(name="+ cache, missed", setup=cached, columns=ONLY_ON)
    yield Step(name="+ tracing", setup=replace(none, traced=True), columns=ONLY_ON)


def crowds() -> Part:
    text = prose(1024)
    return Part(
        name=f"{CROWD} chats at once",
        note="the time that each takes of the process",
        variants=tuple(
            _chat(name, make(), lambda: chat(fresh(text), temperature=0), together=CROWD)
            for name, make in SETUPS.items()
        ),
    )


def streams() -> Part:
    text = f"{prose(1024)} tokens={MANY}"
    return Part(
        name="a stream",
        note=f"of {MANY} pieces, through the whole application",
        variants=tuple(
            _chat(name, make(), lambda: chat(fresh(text), temperature=0, stream=True)) for name, make in SETUPS.items()
        ),
    )


def _chat(
    name: str, setup: Setup, body: Callable[[], bytes], *, step: Step | None = None, together: int = 1
) -> Variant:
    scope = scope_of(key=setup.caller is not None)

    async def work() -> None:
        await sent(CHATS, scope, body())

    return Variant(
        name=name,
        work=work,
        within=partial(applied, setup),
        after=forget if name != CACHED else _nothing,
        together=together,
        beside=step.beside if step else "",
        columns=step.columns if step else (),
    )


def _nothing() -> None:
    return None
