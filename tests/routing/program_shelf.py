"""An active program whose model is a scripted server, for tests of what it does to requests."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from routing.admission import Limits
from routing.backends.client import Timeouts, UpstreamClient
from routing.backends.protocol import ServerAddress, ServerKind
from routing.catalog import AUTO, Catalog, Expert, Profile, Replica
from routing.features import Features
from routing.pool import Pool
from routing.program.active import Active, Program
from routing.program.deciding import Deciding
from tests.scripted import Reply, Residency, ScriptedModel, ScriptedServer

MODEL = "judge:1b"
EXPERTS = {
    slug: Expert(slug=slug, name=name, description=description)
    for slug, name, description in (
        ("code", "Code", "Writes, explains and repairs programs."),
        ("math", "Mathematics", "Computes, proves and solves equations."),
        ("writing", "Writing", "Drafts and edits texts."),
    )
}


def says(expert="math", confidence=0.8, reason="a sum is asked for") -> Reply:
    return Reply(content=[json.dumps({"expert": expert, "confidence": confidence, "reason": reason})])


@contextmanager
def judging() -> Iterator[ScriptedServer]:
    """Yield a model server with the program's model in memory, which always says "math"."""
    with ScriptedServer([ScriptedModel(name=MODEL)]) as server:
        server.loaded[MODEL] = Residency()
        server.default_reply = says("math")
        yield server


def new_pool(**limits) -> Pool:
    client = UpstreamClient(Timeouts(connect=1, first_byte=30, idle=30))
    limits = {"wait": 30.0, "threshold": 100} | limits
    return Pool(client, max_retries=0, limits=Limits(**limits), load_seconds=30)


def replica(server, *, kind=ServerKind.OLLAMA, **fields) -> Replica:
    address = ServerAddress(name="box", kind=kind, base_url=server.url)
    known: dict[str, Any] = {"server": address, "embedded": False, "model": MODEL}
    return Replica(**(known | fields))


def shelf(*replicas, **experts) -> Catalog:
    """Return a catalog in which the expert "judge" runs on ``replicas`` and the others run somewhere."""
    found = {slug: expert for slug, expert in (EXPERTS | experts).items() if expert}
    judge = Expert(slug="judge", name="Judge", replicas=replicas)
    return Catalog(
        experts={"judge": judge} | found,
        models={},
        rules=(),
        default="code",
        profiles={AUTO: Profile(slug=AUTO)},
    )


def deciding(pool, catalog, program: "Program | list[Program] | Exception | None") -> Deciding:
    """Return what asks ``program``: of a list its last at the time, and an error is what looking for one raises."""

    async def active() -> Active:
        if isinstance(program, Exception):
            raise program
        return Active(program=program[-1] if isinstance(program, list) else program)

    async def known() -> Catalog:
        return catalog

    return Deciding(active, known, lambda: pool)


def program(**fields) -> Program:
    known: dict[str, Any] = {"version": 7, "runs_on": "judge", "digest": "one"}
    return Program(**(known | fields))


def seen(text="What is 2 + 2?", *earlier) -> Features:
    return Features(text=text, earlier=earlier)
