"""JSON in and out, strict: what is no JSON is a TypeError, never a pickle.

>>> decode(encode({"item": "tea"}))
{'item': 'tea'}
"""

from __future__ import annotations

import math
from typing import Any

import msgspec

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder()
_PLAIN = (str, int, bool, type(None))


def encode(value: object) -> bytes:
    """The value as JSON, the same bytes for the same value on every replica.

    Raises TypeError for what JSON has no word for: NaN and infinity, bytes, sets, keys that are no strings.
    """
    _require_json(value)
    return _encoder.encode(value)


def decode(data: bytes) -> Any:
    """The value of a JSON text. Raises ValueError where the text is no JSON."""
    return _decoder.decode(data)


def _require_json(value: object) -> None:
    # msgspec would write bytes as base64 and a set as an array, and they would come back as something else.
    if isinstance(value, _PLAIN):
        return
    if isinstance(value, float):
        if not math.isfinite(value):
            raise TypeError(f"{value} has no JSON form")
    elif isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise TypeError(f"a JSON object's keys are strings, not {type(key).__name__}")
            _require_json(item)
    elif isinstance(value, list | tuple):
        for item in value:
            _require_json(item)
    else:
        raise TypeError(f"{type(value).__name__} has no JSON form")
