"""Protobuf's encoding, as far as it is needed: https://protobuf.dev/programming-guides/encoding/."""

from __future__ import annotations

import struct
from collections.abc import Mapping

Value = float | str | bytes  # float admits int, as in annotations everywhere
Repeated = list[int] | list[str] | list[bytes]

VARINT, LENGTH_DELIMITED, FIXED_32 = 0, 2, 5


def message(numbers: Mapping[str, int], /, **fields: Value | Repeated) -> bytes:
    """Encode fields in the order given, a list as a repeated field. Raises KeyError for a name without a number."""
    encoded: list[bytes] = []
    for name, value in fields.items():
        values = value if isinstance(value, list) else [value]
        encoded.extend(_field(numbers[name], each) for each in values)
    return b"".join(encoded)


def _field(number: int, value: Value) -> bytes:
    """Encode one field: int as varint, float as 32 bits, str and bytes with their length before them."""
    if isinstance(value, int):
        return _varint(number << 3 | VARINT) + _varint(value)
    if isinstance(value, float):
        return _varint(number << 3 | FIXED_32) + struct.pack("<f", value)
    content = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | LENGTH_DELIMITED) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1  # negative numbers are written as two's complement
    encoded = bytearray()
    while value > 127:
        encoded.append(value & 127 | 128)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
