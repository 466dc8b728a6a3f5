"""Decoding a request body as Go's encoding/json does into Ollama's structs, with its words when it fails.

The structs are those of Ollama api/types.go; fields that are not listed are ignored, as Go ignores them.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, NoReturn

from .exchange import Refusal

# Field -> the Python type that decodes into it, and Go's name for it.
Fields = Mapping[str, tuple[type | tuple[type, ...], str]]

_STRING = (str, "string")
_BOOL = (bool, "bool")
_INT = (int, "int")
_COMMON: Fields = {
    "model": _STRING,
    "stream": _BOOL,
    "options": (dict, "map[string]interface {}"),
    "truncate": _BOOL,
    "shift": _BOOL,
    "logprobs": _BOOL,
    "top_logprobs": _INT,
}
_REQUESTS: Mapping[str, Fields] = {
    "ChatRequest": {**_COMMON, "messages": (list, "[]api.Message"), "tools": (list, "api.Tools")},
    "GenerateRequest": {
        **_COMMON,
        "prompt": _STRING,
        "suffix": _STRING,
        "system": _STRING,
        "template": _STRING,
        "raw": _BOOL,
        "images": (list, "[]api.ImageData"),
    },
    "EmbedRequest": {**_COMMON, "dimensions": _INT},
    "PullRequest": {"model": _STRING, "name": _STRING, "stream": _BOOL, "insecure": _BOOL},
    "DeleteRequest": {"model": _STRING, "name": _STRING},
    "ShowRequest": {"model": _STRING, "name": _STRING, "verbose": _BOOL},
}
_MESSAGE: Fields = {
    "role": _STRING,
    "content": _STRING,
    "thinking": _STRING,
    "images": (list, "[]api.ImageData"),
    "tool_calls": (list, "[]api.ToolCall"),
    "tool_name": _STRING,
    "tool_call_id": _STRING,
}
_CALL: Fields = {"id": _STRING, "function": (dict, "api.ToolCallFunction")}
_FUNCTION: Fields = {
    "name": _STRING,
    "index": _INT,
    "arguments": (dict, "api.ToolCallFunctionArguments"),
}
_TOOL: Fields = {"type": _STRING, "function": (dict, "api.ToolFunction")}
_TOOL_FUNCTION: Fields = {
    "name": _STRING,
    "description": _STRING,
    "parameters": (dict, "api.ToolFunctionParameters"),
}

_INT_OPTIONS = frozenset({
    "num_keep", "seed", "num_predict", "top_k", "repeat_last_n",
    "num_ctx", "num_batch", "num_gpu", "main_gpu", "num_thread", "draft_num_predict",
})  # fmt: skip
_FLOAT_OPTIONS = frozenset({
    "top_p", "min_p", "typical_p", "temperature",
    "repeat_penalty", "presence_penalty", "frequency_penalty",
})  # fmt: skip
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION_PART = re.compile(r"(\d+\.?\d*|\.\d+)([^\d.]*)")
_BASE64 = re.compile(r"[A-Za-z0-9+/]*")

# encoding/json writes these so that its output may stand inside HTML.
_ESCAPES = str.maketrans({sign: f"\\u{ord(sign):04x}" for sign in "<>&\u2028\u2029"})


def dump(value: object) -> bytes:
    """Write JSON as Go does: UTF-8, compact, and with <, > and & escaped."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).translate(_ESCAPES).encode()


def refuse(message: str, status: int = 400, **extra: object) -> NoReturn:
    """Refuse a request in Ollama's error shape, where the error is a string."""
    raise Refusal(status, dump({"error": message, **extra}))


def decode(body: bytes, struct: str) -> dict[str, Any]:
    """Decode a request body into the named struct of Ollama api/types.go.

    Raises Refusal with status 400 and Go's own text.
    """
    request = _object(body.decode("utf-8", "replace").lstrip(" \t\r\n"), struct)
    _check(request, _REQUESTS[struct], struct)
    for message in request.get("messages") or ():
        _check_message(message, f"{struct}.messages")
    for tool in request.get("tools") or ():
        _check_item(tool, _TOOL, f"{struct}.tools", "api.Tool")
        _check(tool.get("function") or {}, _TOOL_FUNCTION, f"{struct}.tools.function")
    _check_images(request.get("images"))
    _check_think(request.get("think"))
    return request


def keep_alive(value: object) -> float | None:
    """Read keep_alive in seconds: infinity for any negative value, None when absent.

    Follows Duration.UnmarshalJSON in Ollama api/types.go.
    """
    if value is None:
        return None
    if isinstance(value, str):
        seconds = _duration(value)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value)
    else:
        refuse(f"Unsupported type: '{_kind(value)}'")
    return float("inf") if seconds < 0 else seconds


def check_options(options: Mapping[str, Any]) -> None:
    """Refuse options of a wrong type; unknown ones are only logged (Ollama Options.FromMap).

    The status is 500: handleScheduleError knows no other for them.
    """
    for key, value in options.items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if value is None:
            continue
        if key in _INT_OPTIONS and not number:
            refuse(f'option "{key}" must be of type integer', 500)
        if key in _FLOAT_OPTIONS and not number:
            refuse(f'option "{key}" must be of type float32', 500)
        if key == "use_mmap" and not isinstance(value, bool):
            refuse(f'option "{key}" must be of type boolean', 500)
        if key == "stop":
            _check_stop(value)


def _check_stop(value: object) -> None:
    if not isinstance(value, list):
        refuse('option "stop" must be of type array', 500)
    if not all(isinstance(item, str) for item in value):
        refuse('option "stop" must be of an array of strings', 500)


def _object(text: str, struct: str) -> dict[str, Any]:
    if not text:
        refuse("missing request body")
    try:
        # raw_decode, because Go's Decoder reads one value and leaves what follows.
        value, _ = json.JSONDecoder(parse_constant=_no_constant).raw_decode(text)
    except json.JSONDecodeError as error:
        if error.pos >= len(text):
            refuse("unexpected EOF")
        refuse(f"invalid character '{text[error.pos]}' looking for beginning of value")
    if value is None:  # null decodes into any struct as nothing
        return {}
    if not isinstance(value, dict):
        refuse(f"json: cannot unmarshal {_kind(value)} into Go value of type api.{struct}")
    return value


def _no_constant(name: str) -> NoReturn:
    refuse(f"invalid character '{name[0]}' looking for beginning of value")


def _check(value: Mapping[str, Any], fields: Fields, path: str) -> None:
    for key, (types, go_type) in fields.items():
        item = value.get(key)
        if item is None:  # null leaves a Go field at its zero value
            continue
        if not isinstance(item, types) or (isinstance(item, bool) and types is int):
            _mismatch(item, f"{path}.{key}", go_type)


def _check_item(value: object, fields: Fields, path: str, go_type: str) -> None:
    if not isinstance(value, dict):
        _mismatch(value, path, go_type)
    _check(value, fields, path)


def _check_message(message: Any, path: str) -> None:
    _check_item(message, _MESSAGE, path, "api.Message")
    _check_images(message.get("images"))
    for call in message.get("tool_calls") or ():
        _check_item(call, _CALL, f"{path}.tool_calls", "api.ToolCall")
        _check(call.get("function") or {}, _FUNCTION, f"{path}.tool_calls.function")


def _check_images(images: list[Any] | None) -> None:
    """Refuse what encoding/base64 cannot read, such as a data: prefix."""
    for image in images or ():
        if not isinstance(image, str):
            _mismatch(image, "ChatRequest.messages.images", "api.ImageData")
        data = image.replace("\r", "").replace("\n", "")
        letters = _BASE64.match(data)
        end = letters.end() if letters else 0
        if data[end:] != "=" * (-end % 4) or end % 4 == 1:
            refuse(f"illegal base64 data at input byte {end}")


def _check_think(think: object) -> None:
    levels = '"high", "medium", "low", "max", true, or false'
    if isinstance(think, str) and think not in ("high", "medium", "low", "max"):
        refuse(f'invalid think value: "{think}" (must be {levels})')
    if think is not None and not isinstance(think, str | bool):
        refuse(f"think must be a boolean or string ({levels})")


def _duration(text: str) -> float:
    """Parse a Go duration in seconds (time.ParseDuration)."""
    rest = text[1:] if text[:1] in ("-", "+") else text
    if rest == "0":
        return 0.0
    seconds, end = 0.0, 0
    while part := _DURATION_PART.match(rest, end):
        number, unit = part.groups()
        if not unit:
            refuse(f'time: missing unit in duration "{text}"')
        if unit not in _UNITS:
            refuse(f'time: unknown unit "{unit}" in duration "{text}"')
        seconds += float(number) * _UNITS[unit]
        end = part.end()
    if end == 0 or end < len(rest):
        refuse(f'time: invalid duration "{text}"')
    return -seconds if text.startswith("-") else seconds


def _mismatch(value: object, path: str, go_type: str) -> NoReturn:
    refuse(f"json: cannot unmarshal {_kind(value)} into Go struct field {path} of type {go_type}")


def _kind(value: object) -> str:
    names = {dict: "object", list: "array", str: "string", bool: "bool"}
    return names.get(type(value), "number")
