"""Parameters under the one name each has here, whatever other servers' clients call them. Pure."""

from collections.abc import Mapping
from typing import Any

from gateway.fields import invalid
from routing.backends.protocol import OPTION_NAMES, Json

# Options of Ollama that clients of local servers send at the top level (api/types.go, Options).
TOP_LEVEL_OPTIONS = ("top_k", "min_p", "typical_p", "repeat_last_n", "repeat_penalty", "num_keep")
LIFTED_OPTIONS = {option: name for name, option in OPTION_NAMES.items()} | {
    name: name for name in ("num_ctx", *TOP_LEVEL_OPTIONS)
}
# Other servers' names of what has a name here.
ALIASES = {
    "max_output_tokens": "max_tokens",
    "max_new_tokens": "max_tokens",
    "num_predict": "max_tokens",
    "n_predict": "max_tokens",
    "stop_sequences": "stop",
    "repetition_penalty": "repeat_penalty",
}
MAY_BE_UNLIMITED = ("num_predict", "n_predict")  # negative: no limit, which max_tokens cannot say


def settled(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``data`` with every parameter under the name it has here: aliases, and what stands in ``options``.

    So the client's ``options`` beat an expert's defaults like the parameters do, and work on every kind of server. A
    parameter given both ways counts.
    """
    whole = {name: value for name, value in data.items() if name not in ALIASES}
    given = {alias: data[alias] for alias in ALIASES if data.get(alias) is not None}
    options = data.get("options")
    rest = dict(options) if isinstance(options, dict) else {}
    for alias in MAY_BE_UNLIMITED:
        if alias in given:
            rest.setdefault("num_predict", given.pop(alias))
    lifted = {ALIASES[alias]: value for alias, value in given.items()}
    lifted |= {name: rest.pop(option) for option, name in LIFTED_OPTIONS.items() if rest.get(option) is not None}
    if isinstance(lifted.get("max_tokens"), int | float) and lifted["max_tokens"] < 0:
        rest["num_predict"] = lifted.pop("max_tokens")
    if data.get("max_completion_tokens") is not None:
        lifted.pop("max_tokens", None)
    whole |= {name: value for name, value in lifted.items() if data.get(name) is None}
    if rest and isinstance(options, dict | None):
        whole["options"] = rest
    elif isinstance(options, dict):
        whole["options"] = {}
    if data.get("response_format") is None and data.get("format") not in (None, ""):
        whole["response_format"] = _native_format(data["format"])
    whole.pop("format", None)
    return whole


def _native_format(value: Any) -> Json:
    """Return Ollama's ``format`` in OpenAI's shape."""
    if value == "json":
        return {"type": "json_object"}
    if not isinstance(value, dict):
        raise invalid("format", "'format' must be \"json\" or a JSON Schema object.")
    return {"type": "json_schema", "json_schema": {"name": "format", "schema": value}}
