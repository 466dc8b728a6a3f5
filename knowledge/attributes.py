"""A document's metadata as a vector store's file has it: attributes, which are texts, numbers and flags. Pure."""

from collections.abc import Mapping
from typing import Any

Attribute = str | float | bool


def attributes_of(metadata: Mapping[str, Any]) -> dict[str, Attribute]:
    """Return what of ``metadata`` can be an attribute; lists, objects and nulls cannot."""
    return {name: value for name, value in metadata.items() if isinstance(value, str | int | float)}


def with_attributes(metadata: Mapping[str, Any], attributes: Mapping[str, Attribute]) -> dict[str, Any]:
    """Return ``metadata`` with other attributes; what can be none of them stays as it is."""
    sayable = attributes_of(metadata)
    return {name: value for name, value in metadata.items() if name not in sayable} | dict(attributes)
