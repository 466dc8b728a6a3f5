"""A request as one replica shall run it. Pure."""

from dataclasses import replace

from routing.backends.protocol import OPTION_NAMES, ChatCall, ChatRequest, Message, ServerKind, Text
from routing.catalog import Expert, Replica
from routing.exceptions import BadRequest


def prepare(expert: Expert, replica: Replica, request: ChatRequest) -> ChatCall:
    """Return the call ``replica`` runs for ``request``, with the expert's prompt and defaults filled in."""
    messages = request.messages
    if expert.system_prompt and not any(message.role in ("system", "developer") for message in messages):
        messages = (Message(role="system", parts=(Text(text=expert.system_prompt),)), *messages)
    unset = {
        name: value
        for name, value in expert.defaults.items()
        if getattr(request.sampling, name, None) is None and OPTION_NAMES.get(name) not in request.options
    }
    if unset:
        request = replace(request, sampling=replace(request.sampling, **unset))
    window = replica.num_ctx or replica.context_length
    if request.num_ctx and window and request.num_ctx > window:
        raise BadRequest(
            f"num_ctx {request.num_ctx} is more than the {window} tokens that the model '{replica.model}' has here. "
            "Leave it out, or ask for a model with a larger window.",
            param="num_ctx",
            code="unsupported_value",
        )
    if replica.server.kind is ServerKind.OPENAI:
        # Its model stays loaded, and its window is what it is: both are fulfilled by doing nothing.
        request = replace(request, keep_alive=None, num_ctx=None if window else request.num_ctx)
    return ChatCall(
        model=replica.model,
        request=request,
        messages=messages,
        # The replica's own window serves a client that asks for less, without loading the model again.
        num_ctx=replica.num_ctx or request.num_ctx,
        keep_alive=replica.keep_alive if request.keep_alive is None else request.keep_alive,
        capabilities=replica.capabilities,
    )


def without_images(request: ChatRequest) -> ChatRequest:
    """Return ``request`` with a word in place of each image, so that the model knows that it misses something."""
    note = Text(text="[An image was attached here, which you cannot see.]")
    messages = tuple(
        replace(message, parts=tuple(part if isinstance(part, Text) else note for part in message.parts))
        for message in request.messages
    )
    return replace(request, messages=messages)
