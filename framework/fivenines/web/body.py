"""Request bodies as typed values."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeVar

import msgspec

from fivenines.errors import FieldError, MalformedBodyError, UnsupportedMediaTypeError, ValidationFailedError

if TYPE_CHECKING:
    from starlette.requests import Request

__all__ = ["parse_json", "read_json"]

T = TypeVar("T")
_MEDIA_TYPE = "application/json"
_AT_PATH = re.compile(r"^(?P<message>.*?) - at `\$(?P<path>[^`]*)`$", re.DOTALL)
_MISSING = re.compile(r"required field `([^`]+)`")
_UNKNOWN = re.compile(r"unknown field `([^`]+)`")


async def read_json(request: Request, type: type[T]) -> T:
    """The body as a value of this type (a msgspec Struct, a TypedDict, a dataclass …), converted strictly.

    Raises, in this order: UnsupportedMediaTypeError 415, PayloadTooLargeError 413, MalformedBodyError 400,
    ValidationFailedError 422.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != _MEDIA_TYPE:
        raise UnsupportedMediaTypeError(f"The body must be {_MEDIA_TYPE}.", headers={"Accept": _MEDIA_TYPE})
    return parse_json(await request.body(), type)


def parse_json(body: bytes, type: type[T]) -> T:
    """The JSON text as a value of this type; see `read_json` for what it raises."""
    try:
        # First as JSON alone, so that broken JSON is told apart from a wrong field.
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise MalformedBodyError("The body is not valid JSON.") from None
    try:
        return msgspec.convert(document, type, strict=True)
    except msgspec.ValidationError as error:
        raise ValidationFailedError([_field_error(str(error))]) from None


def _field_error(text: str) -> FieldError:
    match = _AT_PATH.match(text)
    message, path = (match["message"], match["path"].lstrip(".")) if match else (text, "")
    if named := _MISSING.search(message) or _UNKNOWN.search(message):
        path = f"{path}.{named[1]}" if path else named[1]
    return FieldError(path or "body", message)
