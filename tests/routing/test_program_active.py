"""Which program is in use: what the database says, as soon as it says so, in every process that decides."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from channels.db import database_sync_to_async
from django.core.management import call_command

from routing.admin import trial
from routing.catalog import catalog
from routing.classifying import Opinion
from routing.management.commands import route
from routing.models import Expert, ModelServer, Replica, RouterProgram
from routing.program.active import Active, active, load
from routing.program.deciding import Deciding
from tests.routing.program_shelf import EXPERTS, MODEL, judging, new_pool, seen
from tests.routing.test_live import following, sql, visible

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def server():
    with judging() as server:
        yield server


def installed(server) -> Expert:
    """Store the experts and the one that programs run on, and return the latter."""
    box = ModelServer.objects.create(name="box", base_url=server.url)
    for number, expert in enumerate(EXPERTS.values()):
        Expert.objects.create(
            slug=expert.slug, name=expert.name, description=expert.description, is_default=not number, position=number
        )
    judge = Expert.objects.create(slug="judge", name="Judge", position=9)
    for row in Expert.objects.all():
        Replica.objects.create(expert=row, server=box, model=MODEL)
    return judge


def kept(runs_on, **fields) -> RouterProgram:
    return RouterProgram.objects.create(status=RouterProgram.Status.DONE, runs_on=runs_on, **fields)


def activate(row: RouterProgram) -> None:
    RouterProgram.objects.filter(active=True).update(active=False)
    RouterProgram.objects.filter(pk=row.pk).update(active=True)


class Unsure:
    """Stands in for the classifier."""

    async def opinion(self, text, reading):
        return Opinion(probabilities={"code": 0.4, "math": 0.3, "writing": 0.3}, abstain=0.6, layer="quick")


@pytest.mark.django_db
class TestStored:
    def test_none_is_active_at_first(self):
        assert load() == Active()

    def test_the_active_one_is_read_with_its_limits(self, server):
        row = kept(installed(server), time_limit=0.7, loads_model=True, accept_from=0.4, state={"choose": {}})
        assert load().program is None
        activate(row)
        found = load().program
        assert (found.version, found.runs_on, found.time_limit) == (row.pk, "judge", 0.7)
        assert (found.loads_model, found.accept_from, found.state) == (True, 0.4, {"choose": {}})

    def test_another_limit_is_the_same_program_and_another_expert_is_not(self, server):
        row = kept(installed(server), active=True)
        first = load().program
        RouterProgram.objects.update(time_limit=9)
        assert load().program.digest == first.digest
        RouterProgram.objects.update(runs_on=Expert.objects.get(slug="code"))
        assert load().program.digest != first.digest
        row.runs_on.delete()
        Expert.objects.get(slug="code").delete()
        assert load().program.runs_on == ""


@pytest.mark.django_db(transaction=True)
class TestLive:
    async def test_activating_and_rolling_back_take_effect_within_two_seconds(self, server):
        judge = await database_sync_to_async(installed)(server)
        first, second = [await database_sync_to_async(kept)(judge, accept_from=value) for value in (0.0, 0.9)]
        pool = new_pool()
        service = Deciding(active.aget, catalog.aget, lambda: pool)

        async def opinion(row):
            await database_sync_to_async(activate)(row)
            assert await visible(lambda: active.get().program and active.get().program.version == row.pk)
            await service.warm()
            return await service.opinion(seen(), EXPERTS)

        async with following():
            assert await service.opinion(seen(), EXPERTS) is None
            found = [await opinion(row) for row in (first, second, first)]
            assert [(one.version, one.accepted) for one in found] == [
                (first.pk, True),
                (second.pk, False),
                (first.pk, True),
            ]
            assert [one.remembered for one in found] == [False, False, True]
            await sql("DELETE FROM routing_routerprogram")
            assert await visible(lambda: active.get().program is None)
            assert await service.opinion(seen(), EXPERTS) is None
        await pool.aclose()

    async def test_another_process_finds_the_one_that_was_active_before_it_started(self, server):
        judge = await database_sync_to_async(installed)(server)
        row = await database_sync_to_async(kept)(judge, active=True)
        active.forget()
        assert (await active.aget()).program.version == row.pk


@pytest.mark.django_db
class TestShown:
    @pytest.fixture(autouse=True)
    def _program(self, server, monkeypatch):
        kept(installed(server), active=True)
        catalog.get()
        monkeypatch.setattr(route, "installation_prepare", lambda say: None)
        for module in (route, trial):
            monkeypatch.setattr(module, "shared_classifying", Unsure)

    def test_the_command_asks_it_and_tells(self, capsys):
        call_command("route", "What is 2 + 2?")
        told = capsys.readouterr().out
        assert told.startswith("math  (program) the program chooses math 80%: a sum is asked for\n")
        assert "program: math 80%" in told

    def test_the_commands_json_has_it(self, capsys):
        call_command("route", "What is 2 + 2?", "--json")
        told = json.loads(capsys.readouterr().out.splitlines()[-1])
        assert (told["expert"], told["route"]) == ("math", "program")
        assert told["explain"]["program"]["reason"] == "a sum is asked for"

    def test_the_page_for_trying_shows_it(self, admin_client):
        page = admin_client.post("/admin/routing/routingrule/try/", {"prompt": "What is 2 + 2?", "profile": "auto"})
        told = page.content.decode()
        assert "the program chooses math 80%: a sum is asked for" in told
        assert "<td>math 80%</td>" in told


def test_dspy_is_loaded_only_for_a_program_and_never_on_a_requests_path_and_litellm_never(server):
    """In a process of its own, from the door to a decision by the program."""
    code = f"""
        import asyncio, json, sys
        import django

        django.setup()
        import moe_site.asgi
        from tests.routing.program_shelf import *

        def loaded():
            return [name for name in ("dspy", "litellm", "openai", "diskcache") if name in sys.modules]

        class Server:
            url = "{server.url}"

        async def main():
            told, pool = [loaded()], new_pool()
            idle = deciding(pool, shelf(replica(Server)), None)
            await idle.warm()
            told += [await idle.opinion(seen(), EXPERTS), loaded()]
            service = deciding(pool, shelf(replica(Server)), program())
            told += [(await service.opinion(seen(), EXPERTS)).why_not, loaded()]
            await service.warm()
            told += [loaded(), (await service.opinion(seen(), EXPERTS)).accepted, loaded()]
            await pool.aclose()
            return told

        print(json.dumps(asyncio.run(main())))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [
        [],
        None,
        [],
        "DSPy and the program are still being loaded",
        [],
        ["dspy"],
        True,
        ["dspy"],
    ]
