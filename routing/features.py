"""What a request looks like to the router. Pure."""

from dataclasses import dataclass

from routing.backends.protocol import ChatRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """``text`` is the last user turn; ``needs`` the capabilities without which a model cannot answer."""

    text: str
    needs: frozenset[str]


def extract(request: ChatRequest) -> Features:
    text = next((message.text for message in reversed(request.messages) if message.role == "user"), "")
    needs = set()
    if request.has_images:
        needs.add("vision")
    if request.tools and request.tool_choice != "none":
        needs.add("tools")
    return Features(text=text, needs=frozenset(needs))
