"""YAML as people write it by hand: plain words, lists and mappings, of which no file can build too much."""

import re
from typing import Any

import yaml

_MAX_DEPTH = 10


class NotPlain(Exception):
    """A text is no YAML, or more than is read; the message says where and what to do."""


def written(value: Any) -> str:
    """Return ``value`` as YAML, in the order it has."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110, default_flow_style=False)


def read(text: str) -> Any:
    """Return what ``text`` says; raises NotPlain."""
    try:
        _check_shape(text)
        return yaml.load(text, Loader=_Loader)  # noqa: S506  (it is a SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"Line {mark.line + 1}: " if mark else ""
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
        # libyaml has a limit of its own and may meet it before _check_shape does.
        too_deep = "nesting depth" in problem
        said = "this is nested too deeply" if too_deep else f"this is no YAML: {problem}"
        raise NotPlain(f"{where}{said}.") from error
    except (ValueError, OverflowError) as error:
        raise NotPlain(f"This is no YAML: {error}.") from error


def _check_shape(text: str) -> None:
    """Refuse, before anything is built, what a small file could grow out of bounds with."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        where = f"Line {event.start_mark.line + 1}" if event.start_mark else "The file"
        if isinstance(event, yaml.AliasEvent):
            raise NotPlain(f"{where}: write it out; references with * are not read.")
        if getattr(event, "tag", None):
            raise NotPlain(f"{where}: put it in quotes; tags with ! are not read.")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > _MAX_DEPTH:
            raise NotPlain(f"{where}: this is nested too deeply.")


# libyaml's parser where PyYAML was built with it: a large file takes a second instead of ten.
_SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_SafeLoader):
    """SafeLoader that reads plain words as YAML 1.2 does: the language no is not false, and 22:00 is not 1320.

    What it takes for a number is a number to PyYAML's dumper too, which so quotes a text that looks like one.
    """

    yaml_implicit_resolvers: dict[str | None, list[tuple[str, re.Pattern[str]]]] = {}

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen: set[str] = set()
        for name, _ in node.value:
            if isinstance(name, yaml.ScalarNode) and name.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"“{name.value}” is there twice", name.start_mark)
            seen.add(str(name.value))
        return super().construct_mapping(node, deep=deep)


for _tag, _expression, _first in (
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    ("null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("int", r"^[-+]?(?:0|[1-9][0-9]*)$", "-+0123456789"),
    ("float", r"^(?:[-+]?[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+][0-9]+)?$", "-+0123456789."),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_expression), list(_first))


class _Dumper(yaml.SafeDumper):
    """SafeDumper that writes several lines as several lines."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    if any(character in text for character in "\r\x85\u2028\u2029\ufeff"):
        style = '"'  # other styles would read them back as plain line ends
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)
