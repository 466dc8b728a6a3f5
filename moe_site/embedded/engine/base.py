"""Django's PostgreSQL backend over the embedded server, which starts with the first connection."""

from typing import Any

from django.conf import settings
from django.db.utils import OperationalError

from moe_site.embedded.exceptions import EmbeddedPostgresError
from moe_site.embedded.postgres import SUPERUSER, embedded_postgres
from moe_site.engine import base


class DatabaseWrapper(base.DatabaseWrapper):
    def get_connection_params(self) -> dict[str, Any]:
        server = embedded_postgres(settings.MOE_DATA_DIR)
        try:
            server.acquire()
        except (EmbeddedPostgresError, OSError) as error:
            raise OperationalError(str(error)) from error
        params: dict[str, Any] = super().get_connection_params()
        return params | {"host": str(server.socket_dir), "user": SUPERUSER}
