"""What can go wrong in the knowledge base, as leaves of the tree in routing/exceptions.py.

EndpointError
├── CollectionNotFound   404  it does not exist, or not for who asks
├── DocumentNotFound     404  likewise
├── JobNotFound          404  likewise
├── StoredFileNotFound   404  likewise
├── TextChanged          409  what was to be changed is not there any more as it was seen
├── BadRequest
│   ├── BadArchive       400  a file that is no archive of a collection, or is damaged
│   ├── InvalidSearch    400  a question, filter or setting that cannot be searched with
│   └── Expired          400  a collection that nobody searched for as long as it is kept without
└── Unavailable
    └── EmbeddingFailed  503  texts could not be turned into vectors
"""

from routing.exceptions import BadRequest, EndpointError, Unavailable


class CollectionNotFound(EndpointError):
    status = 404
    type = "invalid_request_error"
    code = "collection_not_found"


class DocumentNotFound(EndpointError):
    status = 404
    type = "invalid_request_error"
    code = "document_not_found"


class JobNotFound(EndpointError):
    status = 404
    type = "invalid_request_error"
    code = "job_not_found"


class StoredFileNotFound(EndpointError):
    status = 404
    type = "invalid_request_error"
    code = "file_not_found"


class TextChanged(EndpointError):
    """``now`` is the text that stands there now, "" where nothing does."""

    status = 409
    type = "invalid_request_error"
    code = "text_changed"

    def __init__(self, message: str, *, now: str = "") -> None:
        super().__init__(message)
        self.now = now


class BadArchive(BadRequest):
    code = "invalid_archive"


class InvalidSearch(BadRequest):
    code = "invalid_value"


class Expired(BadRequest):
    code = "collection_expired"

    def __init__(self, slug: str, days: int | None) -> None:
        super().__init__(
            f"The collection '{slug}' has expired, as nobody used it for {days} days; what it held is deleted. Leave "
            "it out, make a new one, or give it more days (POST /v1/vector_stores/{id} with 'expires_after').",
            param="collection",
        )


class EmbeddingFailed(Unavailable):
    """The embedding model cannot be had or answers with something else than vectors of its own width."""

    code = "embedding_failed"
