"""What can go wrong in the knowledge base, as leaves of the tree in routing/exceptions.py.

EndpointError
├── CollectionNotFound   404  it does not exist, or not for who asks
├── DocumentNotFound     404  likewise
├── JobNotFound          404  likewise
├── BadRequest
│   └── InvalidSearch    400  a question, filter or setting that cannot be searched with
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


class InvalidSearch(BadRequest):
    code = "invalid_value"


class EmbeddingFailed(Unavailable):
    """The embedding model cannot be had or answers with something else than vectors of its own width."""

    code = "embedding_failed"
