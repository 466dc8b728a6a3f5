"""Images that a request names by URL, fetched before a model is asked."""

import asyncio
import base64
from dataclasses import replace

from routing.backends.fetch import Fetcher, FetchFailed
from routing.backends.protocol import ChatRequest, Image, Message, Part
from routing.exceptions import BadRequest

MOST_IMAGES = 16
MOST_BYTES = 64 * 1024 * 1024  # of all images of a request


def image_type(content: bytes) -> str | None:
    """Return the media type of an image by its first bytes, or None. Its name and its server may say anything."""
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if content.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if content.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "image/webp"
    return None


async def with_images(request: ChatRequest, fetcher: Fetcher) -> ChatRequest:
    """Return ``request`` with every image in it; raises BadRequest naming the part that cannot be had.

    They are fetched at the same time; leaving early stops them all.
    """
    places = [
        (number, place, part)
        for number, message in enumerate(request.messages)
        for place, part in enumerate(message.parts)
        if isinstance(part, Image) and part.url
    ]
    if not places:
        return request
    if len(places) > MOST_IMAGES:
        raise BadRequest(
            f"At most {MOST_IMAGES} images of a request are fetched from their URLs. Send the others as data URIs.",
            param="messages",
            code="invalid_image_url",
        )
    found: dict[tuple[int, int], Image] = {}
    try:
        async with asyncio.TaskGroup() as group:
            for number, place, image in places:
                group.create_task(_fill(found, (number, place), image, fetcher, size=MOST_BYTES // len(places)))
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return replace(
        request, messages=tuple(_filled(message, number, found) for number, message in enumerate(request.messages))
    )


def _filled(message: Message, number: int, found: dict[tuple[int, int], Image]) -> Message:
    parts: tuple[Part, ...] = tuple(found.get((number, place), part) for place, part in enumerate(message.parts))
    return replace(message, parts=parts)


async def _fill(
    found: dict[tuple[int, int], Image], at: tuple[int, int], image: Image, fetcher: Fetcher, *, size: int
) -> None:
    where = f"messages[{at[0]}].content[{at[1]}]"
    try:
        content = (await fetcher.fetch(image.url, size=size)).content
    except FetchFailed as error:
        raise _refused(where, f"The image of '{where}' cannot be fetched: {error}.") from error
    mime = image_type(content)
    if mime is None:
        raise _refused(where, f"What '{where}' points at is no PNG, JPEG, WebP or GIF image.")
    found[at] = replace(image, data=base64.b64encode(content).decode(), mime=mime, url="")


def _refused(where: str, message: str) -> BadRequest:
    return BadRequest(f"{message} The image can also be sent as a data URI.", param=where, code="invalid_image_url")
