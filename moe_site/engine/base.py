"""Django's PostgreSQL backend, with a pool that gets over a restart of the database at once."""

from typing import Any

from django.db.backends.base.base import NO_DB_ALIAS
from django.db.backends.postgresql import base
from psycopg_pool import ConnectionPool


class RecoveringPool(ConnectionPool[Any]):
    """Throws every dead connection away when it meets the first.

    psycopg's own meets them one by one and waits a second, two, four, … in between (since 3.3): of a pool that had
    grown to ten the first request after a restart failed after its ten seconds, and the next one waited for seven.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options | {"check": self._checked})

    def _checked(self, connection: Any) -> None:
        try:
            self.check_connection(connection)
        except Exception:
            self.check()
            raise


class DatabaseWrapper(base.DatabaseWrapper):
    @property
    def pool(self) -> ConnectionPool[Any] | None:
        """The alias's pool, made when it is first asked for, as in Django's own, which lets no other class be given."""
        options = self.settings_dict["OPTIONS"].get("pool")
        if self.alias == NO_DB_ALIAS or not options:
            return None
        pools: dict[str, ConnectionPool[Any]] = self._connection_pools  # type: ignore[attr-defined]
        if self.alias not in pools:
            pool = RecoveringPool(
                kwargs=self.get_connection_params() | {"autocommit": True},
                open=False,
                configure=self._configure_connection,  # type: ignore[attr-defined]
                **options,
            )
            pools.setdefault(self.alias, pool)
        return pools[self.alias]
