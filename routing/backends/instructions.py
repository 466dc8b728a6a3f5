"""What a model is asked in words because its server has no parameter for it. Pure."""

from collections.abc import Iterable
from dataclasses import replace

from routing.backends.protocol import ChatRequest, Message, Text

VERBOSITY = {
    "low": "Answer briefly: as few words as the question allows.",
    "high": "Answer in depth: explain, and give the details.",
}


def verbosity(request: ChatRequest) -> Iterable[str]:
    """Yield what ``verbosity`` means in words; medium is what a model does anyway."""
    if text := VERBOSITY.get(request.verbosity or ""):
        yield text


def tool_promises(request: ChatRequest) -> Iterable[str]:
    """Yield what ``tool_choice`` and ``parallel_tool_calls`` mean in words."""
    if request.must_call and request.named_tool:
        yield f"Your next answer must be a call of the function '{request.named_tool}', and no text."
    elif request.must_call:
        yield "Your next answer must be a call of one of the functions you were given, and no text."
    if request.parallel_tool_calls is False and request.offered_tools:
        yield "Call at most one function at a time."


def instructed(messages: tuple[Message, ...], texts: Iterable[str]) -> tuple[Message, ...]:
    """Return ``messages`` with ``texts`` at the end of the system prompt, which is made if there is none."""
    added = "\n\n".join(texts)
    if not added:
        return messages
    first = messages[0] if messages else None
    if first is None or first.role not in ("system", "developer"):
        return (Message(role="system", parts=(Text(text=added),)), *messages)
    separated = f"\n\n{added}" if first.text else added
    return (replace(first, parts=(*first.parts, Text(text=separated)), content_is_null=False), *messages[1:])
