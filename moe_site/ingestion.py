"""A process that reads documents into the knowledge base.

Run as ``python -m moe_site.ingestion`` by moe_site/serve.py.
"""

import asyncio
import contextlib
import os
import signal
import sys
import threading

from moe_site.worker import leave_with_parent

NICE = 5
"""Answers go before documents where the processor is short."""


def main() -> int:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "moe_site.settings")
    threading.Thread(target=leave_with_parent, daemon=True).start()
    os.nice(NICE)

    import django

    django.setup()
    return asyncio.run(_run())


async def _run() -> int:
    import logging

    import psycopg
    from django.conf import settings
    from django.db import Error
    from procrastinate.exceptions import ConnectorException

    from knowledge.worker import work
    from routing.live import follow_changes
    from routing.pool import close_shared_pool

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    following = asyncio.create_task(follow_changes(), name="follow changes")
    try:
        await work(
            concurrency=settings.INGESTION_CONCURRENCY, stop=stop, word=settings.MOE_DATA_DIR / "ingestion.workers"
        )
    except (Error, psycopg.Error, ConnectorException, OSError) as error:
        logging.getLogger("moe_site").warning("ingestion lost the database, starting again error=%s", error)
        return 1
    finally:
        following.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await following
        await close_shared_pool()
        _end_parsers()
    return 0


def _end_parsers() -> None:
    # A thread that waits for one would keep the process.
    from knowledge.parsing import shared_parsers

    shared_parsers().close()


if __name__ == "__main__":
    sys.exit(main())
