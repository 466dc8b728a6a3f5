"""What can go wrong between a request and its answer.

    EndpointError                 everything a client may be told, with status, type and code
    ├── BadRequest                400  the request itself
    │   └── ContextLengthExceeded 400  the prompt does not fit the model's window
    ├── ModelNotFound             404
    │   └── ModelNotInstalled     404  known here, but missing on the model server
    ├── Unavailable               503  nothing can answer now; carries Retry-After
    │   └── Unreachable           503  a model server could not be connected to
    ├── QueueFull                 429  too many requests wait already
    ├── UpstreamBusy              429  a model server asked us to slow down
    ├── UpstreamFailed            502  a model server answered with an error or broke off
    └── UpstreamTimedOut          504  a model server stayed silent too long

Messages are shown to clients: they say what happened and what to do next, and never carry what a model
server said about accounts or hosts.
"""

from typing import ClassVar


class EndpointError(Exception):
    """An error with the shape OpenAI clients know."""

    status: ClassVar[int] = 500
    type: ClassVar[str] = "api_error"
    code: str | None = "server_error"
    # Whether another replica may fare better: true for what a server did, false for what the client asked.
    may_fail_over: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after: float | None = None,
        should_retry: bool | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        if code is not None:
            self.code = code
        self.retry_after = retry_after
        self.should_retry = should_retry


class BadRequest(EndpointError):
    status = 400
    type = "invalid_request_error"
    code: str | None = None


class ContextLengthExceeded(BadRequest):
    code = "context_length_exceeded"


class ModelNotFound(EndpointError):
    status = 404
    type = "invalid_request_error"
    code = "model_not_found"


class ModelNotInstalled(ModelNotFound):
    """A model server does not have the model its replica names."""

    may_fail_over = True


class Unavailable(EndpointError):
    status = 503
    may_fail_over = True
    code = "service_unavailable"


class Unreachable(Unavailable):
    """No connection to the model server, or it broke before the first byte: trying again costs nothing."""


class QueueFull(EndpointError):
    """Too many wait already, or this request waited as long as it may."""

    status = 429
    type = "rate_limit_error"
    code = "queue_full"


class UpstreamBusy(EndpointError):
    status = 429
    may_fail_over = True
    type = "rate_limit_error"
    code = "rate_limit_exceeded"


class UpstreamFailed(EndpointError):
    status = 502
    may_fail_over = True
    code = "upstream_error"


class UpstreamTimedOut(EndpointError):
    status = 504
    may_fail_over = True
    code = "upstream_timeout"
