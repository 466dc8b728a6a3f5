"""A process that reads documents into the knowledge base.

Run as ``python -m moe_site.ingestion`` by moe_site/serve.py.
"""

import asyncio
import gc
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
    gc.disable()  # as in worker.py

    import django

    django.setup()
    from moe_site import logs

    logs.catch_strays()
    gc.freeze()
    gc.enable()
    return asyncio.run(_run())


async def _run() -> int:
    import logging

    import psycopg
    from django.conf import settings
    from django.db import Error
    from procrastinate.exceptions import ConnectorException

    from gateway.exposition import keep_fresh
    from knowledge.worker import work
    from routing.live import follow_changes
    from routing.pool import close_shared_pool
    from routing.tracing import start_tracing, stop_tracing
    from routing.vectorcache import write_vectors

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    if settings.OTEL_EXPORTER_OTLP_ENDPOINT:
        start_tracing()
    beside = [
        asyncio.create_task(follow_changes(), name="follow changes"),
        asyncio.create_task(write_vectors(), name="write vectors"),
        asyncio.create_task(keep_fresh("ingestion"), name="keep figures fresh"),
    ]
    try:
        await work(
            concurrency=settings.INGESTION_CONCURRENCY, stop=stop, word=settings.MOE_DATA_DIR / "ingestion.workers"
        )
    except (Error, psycopg.Error, ConnectorException, OSError) as error:
        # The queue's own says no more than that there was one.
        reason = error.__cause__ if isinstance(error, ConnectorException) and error.__cause__ else error
        logging.getLogger("moe_site").warning("ingestion lost the database, starting again error=%s", reason)
        return 1
    finally:
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)
        await close_shared_pool()
        await asyncio.to_thread(stop_tracing)
        _end_parsers()
    return 0


def _end_parsers() -> None:
    # A thread that waits for one would keep the process.
    from knowledge.parsing import shared_parsers

    shared_parsers().close()


if __name__ == "__main__":
    sys.exit(main())
