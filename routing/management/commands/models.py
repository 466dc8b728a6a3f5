import asyncio
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from routing.backends.client import UpstreamClient
from routing.backends.loading import full_tag, require_ollama
from routing.discovery import FoundModel, models_find, servers_refresh
from routing.exceptions import EndpointError
from routing.management.progress import PullDisplay, size
from routing.modelcare import (
    PROBE_TIMEOUTS,
    PULL_TIMEOUTS,
    ResidentModel,
    ServerState,
    checked_name,
    discovered,
    model_pull,
    replicas_of,
    server_delete,
    server_refresh,
    server_state,
    server_unload,
    server_warm,
    with_client,
)
from routing.models import ModelServer

CANCELLED = 130  # what a shell gives for Ctrl-C
HEADINGS = ("MODEL", "SIZE", "CONTEXT", "CAPABILITIES", "IN MEMORY")


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """A server and what it says now."""

    server: ModelServer
    state: ServerState
    installed: tuple[FoundModel, ...] = ()

    def resident(self, model: FoundModel) -> ResidentModel | None:
        tag = full_tag(model.name)
        return next((one for one in self.state.resident if full_tag(one.name) == tag), None)


class Command(BaseCommand):
    help = "List, pull, load, unload and delete the models of model servers."

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True, metavar="action")
        listing = actions.add_parser("list", help="show what is installed and what is in memory, as servers tell now")
        listing.add_argument("--json", action="store_true", help="as JSON, for programs")
        refresh = actions.add_parser("refresh", help="ask what is installed and write it down for the router")
        for name, text in (
            ("pull", "download a model to a server; doing it again goes on where it stopped"),
            ("warm", "load a model into memory, with its replica's context window"),
            ("unload", "take a model out of memory"),
            ("delete", "delete a model from a server"),
        ):
            action = actions.add_parser(name, help=text)
            action.add_argument("name", help="the model's tag, for example qwen3:8b")
            if name == "delete":
                action.add_argument("--yes", action="store_true", help="do not ask")
            self._add_server(action, "on which server (may be left out while there is one)")
        for action in (listing, refresh):
            self._add_server(action, "only this server")

    def _add_server(self, parser: CommandParser, text: str) -> None:
        parser.add_argument("--server", metavar="NAME", help=text)

    def handle(self, *args: Any, **options: Any) -> None:
        steps = {
            "list": self._list,
            "refresh": self._refresh,
            "pull": self._pull,
            "warm": self._warm,
            "unload": self._unload,
            "delete": self._delete,
        }
        try:
            steps[options["action"]](options)
        except EndpointError as error:
            raise CommandError(error.message) from error

    # What there is.

    def _list(self, options: dict[str, Any]) -> None:
        listings = _listings(self._servers(options, ModelServer.objects.all()))
        if options["json"]:
            self.stdout.write(json.dumps([_as_json(listing) for listing in listings], indent=2))
        for listing in () if options["json"] else listings:
            self._write_listing(listing)
        if listings and all(listing.state.reason for listing in listings):
            raise CommandError("No model server answers.")

    def _write_listing(self, listing: Listing) -> None:
        server, state = listing.server, listing.state
        notes = [
            server.base_url,
            f"Ollama {state.version}" if state.version else "",
            "" if server.enabled else "disabled",
        ]
        self.stdout.write(f"{server.name}  ({', '.join(note for note in notes if note)})")
        if state.reason:
            self.stdout.write(f"  {state.reason}\n\n")
            return
        rows = [_row(model, listing.resident(model)) for model in listing.installed]
        for line in _table((HEADINGS, *rows)) if rows else ("Nothing is installed.",):
            self.stdout.write(f"  {line}")
        self.stdout.write("")

    def _refresh(self, options: dict[str, Any]) -> None:
        outcomes = servers_refresh(self._servers(options, ModelServer.objects.filter(enabled=True)))
        for server, outcome in outcomes.items():
            if isinstance(outcome, EndpointError):
                self.stderr.write(f"{server}: {outcome.message}")
            else:
                self.stdout.write(discovered(server, outcome))
        if outcomes and all(isinstance(outcome, EndpointError) for outcome in outcomes.values()):
            raise CommandError("No model server answers.")

    # What is done to one model.

    def _pull(self, options: dict[str, Any]) -> None:
        server, name = self._server(options), checked_name(options["name"])
        require_ollama(server.address())
        display = PullDisplay(self.stdout)

        async def pull(client: UpstreamClient) -> None:
            async with aclosing(model_pull(server.address(), client, name)) as steps:
                async for progress in steps:
                    display.show(progress)

        with self._cancellable(name):
            try:
                with_client(pull, PULL_TIMEOUTS)
            finally:
                display.end()
        self.stdout.write(f"Pulled {name} to {server}.")
        self.stdout.write(server_refresh(server))
        if not replicas_of(server, name):
            self.stdout.write("No expert uses it yet: clients ask for it by its name, or add a replica in the admin.")

    @contextmanager
    def _cancellable(self, name: str) -> Iterator[None]:
        try:
            yield
        except KeyboardInterrupt:
            text = f"Cancelled. Pulling {name} again goes on where it stopped."
            raise CommandError(text, returncode=CANCELLED) from None

    def _warm(self, options: dict[str, Any]) -> None:
        self.stdout.write(server_warm(self._server(options), checked_name(options["name"])))

    def _unload(self, options: dict[str, Any]) -> None:
        self.stdout.write(server_unload(self._server(options), checked_name(options["name"])))

    def _delete(self, options: dict[str, Any]) -> None:
        server, name = self._server(options), checked_name(options["name"])
        require_ollama(server.address())
        if using := replicas_of(server, name):
            experts = ", ".join(
                f"{replica.expert.slug}" + ("" if replica.enabled else " (disabled)") for replica in using
            )
            self.stderr.write(f"{name} on {server} is used by replicas of these experts: {experts}.")
        if not options["yes"]:
            self._confirm(f"Delete {name} from {server}? [y/N] ")
        self.stdout.write(server_delete(server, name))

    def _confirm(self, question: str) -> None:
        if not _is_terminal():
            raise CommandError("Nothing was deleted: there is nobody to ask. Give --yes to delete without a question.")
        if input(question).strip().lower() not in ("y", "yes"):
            raise CommandError("Nothing was deleted.")

    # Which server.

    def _servers(self, options: dict[str, Any], among: Any) -> list[ModelServer]:
        if options["server"]:
            return [self._named(options["server"])]
        servers = list(among)
        if not servers:
            self.stderr.write("There is no model server yet. Add one in the admin, or set OLLAMA_BASE_URL.")
        return servers

    def _server(self, options: dict[str, Any]) -> ModelServer:
        if options["server"]:
            return self._named(options["server"])
        enabled = ModelServer.objects.filter(enabled=True)
        # The embedded server never takes models; it is no reason to ask which one was meant.
        servers = list(enabled.filter(kind=ModelServer.Kind.OLLAMA)) or list(enabled)
        if not servers:
            raise CommandError("There is no model server yet. Add one in the admin, or set OLLAMA_BASE_URL.")
        if len(servers) > 1:
            raise CommandError(f"Say on which server with --server: {_names(servers)}.")
        return servers[0]

    def _named(self, name: str) -> ModelServer:
        server = ModelServer.objects.filter(name=name).first()
        if server is None:
            raise CommandError(f"There is no model server '{name}'. There are: {_names(ModelServer.objects.all())}.")
        return server


def _is_terminal() -> bool:
    return sys.stdin.isatty()


def _names(servers: Any) -> str:
    return ", ".join(server.name for server in servers) or "none"


def _listings(servers: Sequence[ModelServer]) -> list[Listing]:
    """Ask servers side by side."""

    async def ask(client: UpstreamClient) -> list[Listing]:
        return await asyncio.gather(*(_listing(server, client) for server in servers))

    return with_client(ask, PROBE_TIMEOUTS)


async def _listing(server: ModelServer, client: UpstreamClient) -> Listing:
    address = server.address()
    state = await server_state(address, client)
    if state.reason:
        return Listing(server=server, state=state)
    try:
        return Listing(server=server, state=state, installed=tuple(await models_find(address, client)))
    except EndpointError as error:
        return Listing(server=server, state=ServerState(reason=error.message))


def _row(model: FoundModel, resident: ResidentModel | None) -> tuple[str, ...]:
    return (
        model.name,
        size(model.size_bytes) if model.size_bytes else "-",
        str(model.context_length or "-"),
        "not told" if model.capabilities is None else ", ".join(model.capabilities),
        _in_memory(resident) if resident else "-",
    )


def _in_memory(resident: ResidentModel) -> str:
    parts = [f"{resident.context_length} tokens" if resident.context_length else "yes"]
    if resident.vram_percent is not None:
        parts.append(f"{resident.vram_percent}% on GPU")
    if resident.stays:
        parts.append("for ever")
    elif resident.expires_at:
        parts.append(f"until {timezone.localtime(resident.expires_at):%H:%M:%S}")
    return ", ".join(parts)


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _as_json(listing: Listing) -> dict[str, Any]:
    return {
        "server": listing.server.name,
        "base_url": listing.server.base_url,
        "kind": listing.server.kind,
        "enabled": listing.server.enabled,
        "error": listing.state.reason or None,
        "version": listing.state.version or None,
        "models": [_model_as_json(model, listing.resident(model)) for model in listing.installed],
    }


def _model_as_json(model: FoundModel, resident: ResidentModel | None) -> dict[str, Any]:
    return {
        "name": model.name,
        "size_bytes": model.size_bytes,
        "context_length": model.context_length,
        "capabilities": None if model.capabilities is None else list(model.capabilities),
        "resident": resident
        and {
            "context_length": resident.context_length,
            "size_bytes": resident.size_bytes,
            "vram_bytes": resident.vram_bytes,
            "expires_at": resident.expires_at.isoformat() if resident.expires_at else None,
        },
    }
