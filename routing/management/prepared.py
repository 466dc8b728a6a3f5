"""An installation that was never started, made ready for a command that needs its experts."""

from collections.abc import Callable

from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from routing.shelf import shelf_seed
from routing.starter import starter_seed


def installation_prepare(say: Callable[[str], object]) -> None:
    """Bring tables and the standard shelf to where the first start would have brought them."""
    executor = MigrationExecutor(connection)
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        say("Preparing the database, as the first start does …")
        call_command("migrate", verbosity=0, interactive=False)
    shelf_seed()
    starter_seed()
