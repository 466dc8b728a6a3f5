"""A collection's archive as the answer to a request."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from typing import BinaryIO, cast

from django.conf import settings
from django.http import FileResponse
from django.utils import timezone

from knowledge.archive.exporting import collection_export
from knowledge.models import Collection

PIECE = 256 * 1024


class Download(FileResponse):
    """A file that is read piece by piece under ASGI too, where Django would read all of it first."""

    block_size = PIECE

    async def __aiter__(self) -> AsyncIterator[bytes]:
        file = cast(BinaryIO, self.file_to_stream)
        while piece := await asyncio.to_thread(file.read, PIECE):
            yield piece


def archive_download(collection: Collection) -> Download:
    """Return ``collection`` as a file to be saved.

    It is written to disk first: whoever downloads slowly holds no transaction open, and what fails has a status.
    """
    file = tempfile.TemporaryFile(dir=settings.MOE_DATA_DIR)  # noqa: SIM115 - the response closes it
    try:
        collection_export(collection=collection, to=cast(BinaryIO, file))
        file.seek(0)
    except BaseException:
        file.close()
        raise
    name = f"{collection.slug}-{timezone.now():%Y-%m-%d}.zip"
    return Download(file, as_attachment=True, filename=name, content_type="application/zip")
