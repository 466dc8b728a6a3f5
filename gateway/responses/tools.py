"""The tools of a request and which of them are to be used, from their JSON. Pure.

Models know functions alone. A custom tool, which takes any text, is a function of one text for them, and a tool of a
namespace has the namespace in its name; file_search is done by the gateway before the model is asked.
Source: openai/openai-python, src/openai/types/responses/tool.py and tool_choice_*.py.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from gateway.fields import Fields, invalid, unsupported
from gateway.rag import MOST_COLLECTIONS, MOST_PASSAGES
from gateway.responses.items import INPUT, qualified
from knowledge.filters import InvalidFilter, parse, to_json
from routing.backends.protocol import Grounding, Json
from routing.exceptions import BadRequest

FUNCTION, CUSTOM, NAMESPACE, FILE_SEARCH = "function", "custom", "namespace", "file_search"
# Of OpenAI's own tools, and what to do without them.
BUILT_IN: Mapping[str, str] = {
    "web_search": 'nothing here searches the web; leave it out (Codex: web_search = "disabled" in its config.toml)',
    "web_search_preview": "nothing here searches the web; leave it out",
    "code_interpreter": "nothing here runs code; offer a function that does",
    "computer": "nothing here uses a computer; offer functions that do",
    "computer_use_preview": "nothing here uses a computer; offer functions that do",
    "image_generation": "nothing here makes images; leave it out",
    "mcp": "nothing here calls MCP servers; have the client call them and offer their tools as functions",
    "local_shell": "offer the shell as a function",
    "shell": "offer the shell as a function",
    "apply_patch": "offer it as a function or as a custom tool",
    "tool_search": "offer all tools at once",
    "programmatic_tool_calling": "leave it out",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """``functions`` and ``choice`` are those of a chat; ``custom`` names the functions that stand for custom tools.

    ``spaced`` has the namespace and the name in it of each function that is of one, by the name models know it by.
    ``search`` is what file_search looks for and where. ``shown`` and ``shown_choice`` are as the client sent them;
    ``ignored`` names what nobody reads.
    """

    functions: tuple[Json, ...] = ()
    choice: str | Json | None = None
    custom: frozenset[str] = frozenset()
    spaced: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    search: Grounding | None = None
    shown: tuple[Json, ...] = ()
    shown_choice: str | Json = "auto"
    ignored: tuple[str, ...] = ()


@dataclass(slots=True)
class _Reading:
    functions: dict[str, Json] = field(default_factory=dict)
    custom: set[str] = field(default_factory=set)
    spaced: dict[str, tuple[str, str]] = field(default_factory=dict)
    space: Json | None = None  # the namespace that is being read
    search: Grounding | None = None
    ignored: dict[str, None] = field(default_factory=dict)

    def named(self, tool: Json, where: str) -> str:
        name = tool.get("name")
        if not isinstance(name, str) or not name:
            nested = " (flat, without an object 'function' around it)" if "function" in tool else ""
            raise invalid(where, f"'{where}' must have a name{nested}.")
        called = qualified(self.space["name"], name) if self.space else name
        if called in self.functions:
            raise invalid(where, f"'{where}' has the name of a tool before it, '{called[:100]}'.")
        if self.space:
            self.spaced[called] = (self.space["name"], name)
        return called

    def described(self, description: str | None) -> str | None:
        """Return what a tool says of itself, after what its namespace does."""
        about = self.space["description"] if self.space else ""
        return "\n\n".join(filter(None, (about, description))) or description

    def note(self, fields: Fields, inside: str = "tools") -> None:
        self.ignored.update((f"{inside}.{name}", None) for name in fields.unseen())


def read_tools(fields: Fields) -> Tools:
    """Return the tools of a request; raises BadRequest."""
    given = fields.array("tools") or []
    reading = _Reading()
    for number, tool in enumerate(given):
        where = f"tools[{number}]"
        if not isinstance(tool, dict) or not isinstance(tool.get("type"), str):
            raise invalid(where, f"'{where}' must be an object with 'type' and 'name'.")
        read = _READERS.get(tool["type"])
        if read is None:
            raise _refused(tool["type"], where)
        read(reading, tool, where)
    tools = Tools(
        functions=tuple(reading.functions.values()),
        custom=frozenset(reading.custom),
        spaced=reading.spaced,
        search=reading.search,
        shown=tuple(given),
        ignored=tuple(reading.ignored),
    )
    return _chosen(tools, fields.get("tool_choice", (str, dict), "none, auto, required or a tool"))


def _refused(kind: str, where: str) -> BadRequest:
    for name, why in BUILT_IN.items():
        if kind == name or kind.startswith(f"{name}_20"):  # web_search_2025_08_26
            return unsupported(where, f"The tool '{kind[:60]}' ('{where}') is not supported: {why}.")
    return unsupported(where, f"The tool '{kind[:60]}' ('{where}') is not supported. There are: {', '.join(_READERS)}.")


def _function(reading: _Reading, tool: Json, where: str) -> None:
    fields = Fields(tool)
    name, description = reading.named(tool, where), fields.raw("description")
    parameters, strict = fields.raw("parameters"), fields.raw("strict")
    if not isinstance(parameters, dict | None):
        raise invalid(f"{where}.parameters", f"'{where}.parameters' must be a JSON Schema object.")
    if not isinstance(description, str | None) or not isinstance(strict, bool | None):
        raise invalid(where, f"'{where}.description' must be a text and '{where}.strict' true or false.")
    function: dict[str, Any] = {"name": name, "parameters": parameters or {"type": "object", "properties": {}}}
    function |= {} if (told := reading.described(description)) is None else {"description": told}
    function |= {} if strict is None else {"strict": strict}
    reading.functions[name] = {"type": "function", "function": function}
    fields.seen |= {"type", "name"}
    reading.note(fields)


def _custom(reading: _Reading, tool: Json, where: str) -> None:
    fields = Fields(tool)
    name, description = reading.named(tool, where), fields.raw("description")
    if not isinstance(description, str | None):
        raise invalid(f"{where}.description", f"'{where}.description' must be a text.")
    told = _format(fields.raw("format"), f"{where}.format")
    held = {"type": "string", "description": told or "The whole input of the tool, as plain text."}
    parameters = {"type": "object", "properties": {INPUT: held}, "required": [INPUT], "additionalProperties": False}
    function = {"name": name, "description": reading.described(description) or name, "parameters": parameters}
    reading.functions[name] = {"type": "function", "function": function}
    reading.custom.add(name)
    fields.seen |= {"type", "name"}
    reading.note(fields)


def _format(given: Any, where: str) -> str:
    """Return a custom tool's format in words; raises BadRequest."""
    if given is None:
        return ""
    kind = given.get("type") if isinstance(given, dict) else None
    if kind == "text":
        return ""
    if kind != "grammar" or given.get("syntax") not in ("lark", "regex"):
        raise invalid(where, f"'{where}' must be of type text, or grammar with the syntax lark or regex.")
    if not isinstance(given.get("definition"), str):
        raise invalid(where, f"'{where}.definition' must be the grammar, as a text.")
    return (
        f"The whole input of the tool, as plain text that this {given['syntax']} grammar allows:\n{given['definition']}"
    )


def _namespace(reading: _Reading, tool: Json, where: str) -> None:
    fields = Fields(tool)
    name, description, inner = fields.raw("name"), fields.raw("description"), fields.raw("tools")
    if not isinstance(name, str) or not name:
        raise invalid(where, f"'{where}' must have a name.")
    if not isinstance(description, str | None) or not isinstance(inner, list) or not inner:
        raise invalid(where, f"'{where}.description' must be a text and '{where}.tools' a list that is not empty.")
    reading.space = {"name": name, "description": description or ""}
    for number, one in enumerate(inner):
        place, kind = f"{where}.tools[{number}]", one.get("type") if isinstance(one, dict) else None
        if kind not in (FUNCTION, CUSTOM):
            raise invalid(place, f"'{place}' must be a tool of type {FUNCTION} or {CUSTOM}.")
        _READERS[kind](reading, one, place)
    reading.space = None
    fields.seen.add("type")
    reading.note(fields)


def _search(reading: _Reading, tool: Json, where: str) -> None:
    if reading.search is not None:
        raise invalid(where, f"'{where}' is a second file_search. Name all vector stores in one.")
    fields = Fields(tool)
    stores = fields.raw("vector_store_ids")
    if not isinstance(stores, list) or not stores or not all(isinstance(one, str) and one for one in stores):
        raise invalid(where, f"'{where}.vector_store_ids' must be a list of vector stores' ids.")
    if len(stores) > MOST_COLLECTIONS:
        raise invalid(where, f"'{where}.vector_store_ids' names {len(stores)}; {MOST_COLLECTIONS} are the most.")
    most = fields.raw("max_num_results")
    if most is not None and (not isinstance(most, int) or isinstance(most, bool) or not 1 <= most <= MOST_PASSAGES):
        raise invalid(where, f"'{where}.max_num_results' must be a whole number from 1 to {MOST_PASSAGES}.")
    reading.search = Grounding(
        collections=tuple(dict.fromkeys(stores)), top_k=most, filters=_filters(fields.raw("filters"), where)
    )
    fields.seen.add("type")
    reading.note(fields)


def _filters(value: Any, where: str) -> Json | None:
    if value is None:
        return None
    try:
        return to_json(parse(value, place=f"'{where}.filters'"))
    except InvalidFilter as error:
        raise invalid(f"{where}.filters", str(error)) from error


_READERS = {FUNCTION: _function, CUSTOM: _custom, NAMESPACE: _namespace, FILE_SEARCH: _search}


# --- which ------------------------------------------------------------------------------------------------------


def _chosen(tools: Tools, choice: str | Json | None) -> Tools:
    """Return ``tools`` narrowed to what ``choice`` lets be used; raises BadRequest."""
    if choice is None:
        return tools
    tools = replace(tools, shown_choice=choice)
    if isinstance(choice, dict):
        return _named(tools, choice)
    if choice not in ("none", "auto", "required"):
        raise invalid("tool_choice", "'tool_choice' must be none, auto, required or a tool.")
    if choice == "none":
        return replace(tools, choice="none" if tools.functions else None, search=_unwanted(tools))
    return _moded(tools, choice)


def _moded(tools: Tools, mode: str) -> Tools:
    if mode == "auto" or tools.search:
        # The search is made in any case, and is the call that had to be made.
        return replace(tools, choice="auto" if tools.functions else None)
    if not tools.functions:
        raise invalid("tool_choice", "'tool_choice' needs 'tools' to choose from.")
    return replace(tools, choice="required")


def _named(tools: Tools, choice: Json) -> Tools:
    kind = choice.get("type")
    if kind == "allowed_tools":
        return _allowed(tools, choice)
    if kind == FILE_SEARCH and tools.search:
        return replace(tools, choice="auto" if tools.functions else None)
    if kind in (FUNCTION, CUSTOM):
        name = _called(choice)
        if not any(name == one for one in _names(tools)):
            raise invalid("tool_choice", "'tool_choice' must name a tool that is among 'tools'.")
        return replace(tools, choice={"type": "function", "function": {"name": name}})
    if kind == FILE_SEARCH:
        raise invalid("tool_choice", "'tool_choice' is file_search, which is not among 'tools'.")
    raise unsupported(
        "tool_choice",
        "'tool_choice' must be none, auto, required, a function, a custom tool, file_search or allowed_tools.",
    )


def _allowed(tools: Tools, choice: Json) -> Tools:
    listed, mode = choice.get("tools"), choice.get("mode")
    if not isinstance(listed, list) or mode not in ("auto", "required"):
        raise invalid("tool_choice", "'tool_choice' must have 'tools', a list, and the mode auto or required.")
    allowed = [one for one in listed if isinstance(one, dict)]
    spaces = [one.get("name") for one in allowed if one.get("type") == NAMESPACE]
    names = {_called(one) for one in allowed if one.get("type") != NAMESPACE}
    names |= {called for called, (space, _) in tools.spaced.items() if space in spaces}
    searches = any(one.get("type") == FILE_SEARCH for one in allowed)
    narrowed = replace(
        tools,
        functions=tuple(tool for tool in tools.functions if tool["function"]["name"] in names),
        search=tools.search if searches else _unwanted(tools),
    )
    if not narrowed.functions and not (searches and tools.search):
        raise invalid("tool_choice", "'tool_choice.tools' must name some of 'tools'.")
    if mode == "required" and not searches and narrowed.functions:
        return replace(narrowed, choice="required")
    return replace(narrowed, choice="auto" if narrowed.functions else None)


def _called(choice: Json) -> str:
    """Return the name by which models know the function or custom tool that ``choice`` names, "" if it names none."""
    name, space = choice.get("name"), choice.get("namespace")
    if not isinstance(name, str):
        return ""
    return qualified(space, name) if isinstance(space, str) and space else name


def _unwanted(tools: Tools) -> Grounding | None:
    """Return that nothing is to be searched, where a search was among the tools."""
    return Grounding(wanted=False) if tools.search else None


def _names(tools: Tools) -> Iterator[str]:
    return (tool["function"]["name"] for tool in tools.functions)
