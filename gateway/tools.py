"""The tools of a chat, and which of them the model may or must call. Pure."""

from typing import Any

from gateway.fields import Fields, invalid
from routing.backends.protocol import Json


def read_tools(fields: Fields) -> tuple[tuple[Json, ...], str | Json | None]:
    """Return the tools and the choice among them; raises BadRequest naming which of them is wrong."""
    tools = _tools(fields)
    names = {tool["function"]["name"] for tool in tools}
    choice: str | Json | None = fields.get("tool_choice", (str, dict), "none, auto, required or a function")
    if choice is None or choice in ("none", "auto"):
        return tools, choice
    if isinstance(choice, str) and choice != "required":
        raise invalid("tool_choice", "'tool_choice' must be none, auto, required or a function.")
    if not tools:
        raise invalid("tool_choice", "'tool_choice' needs 'tools' to choose from.")
    if isinstance(choice, str):
        return tools, choice
    if choice.get("type") == "allowed_tools":
        return _allowed_tools(tools, choice.get("allowed_tools"))
    name = _function_name(choice)
    if name not in names:
        raise invalid("tool_choice", "'tool_choice' must name a function that is among 'tools'.")
    return tools, {"type": "function", "function": {"name": name}}


def _tools(fields: Fields) -> tuple[Json, ...]:
    tools = fields.array("tools") or []
    for number, tool in enumerate(tools):
        if not isinstance(tool, dict) or tool.get("type") != "function" or not _function_name(tool):
            raise invalid(f"tools[{number}]", f"'tools[{number}]' must be a function with a name.")
    return tuple(tools)


def _function_name(tool: Any) -> str | None:
    function = tool.get("function") if isinstance(tool, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    return name if isinstance(name, str) and name else None


def _allowed_tools(tools: tuple[Json, ...], allowed: Any) -> tuple[tuple[Json, ...], str]:
    """Return the tools narrowed to those that ``allowed`` names, and its mode."""
    named = allowed.get("tools") if isinstance(allowed, dict) else None
    names = {_function_name(tool) for tool in named} if isinstance(named, list) else set()
    narrowed = tuple(tool for tool in tools if _function_name(tool) in names)
    if not narrowed or allowed.get("mode") not in ("auto", "required"):
        raise invalid(
            "tool_choice", "'tool_choice.allowed_tools' must have mode auto or required, and name some of 'tools'."
        )
    return narrowed, str(allowed["mode"])
