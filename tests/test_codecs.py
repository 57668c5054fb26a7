"""JSON, and nothing that merely looks like it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fivenines.codecs import decode, encode

NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(JSON)
def test_what_goes_in_comes_out(value: Any) -> None:
    """Property: the same value, and the same bytes for it."""
    assert decode(encode(value)) == value
    assert encode(decode(encode(value))) == encode(value)


@pytest.mark.parametrize(
    "value", [b"x", {1, 2}, {1: "x"}, float("nan"), float("inf"), datetime.now(UTC), object(), [{"a": {b"b"}}]]
)
def test_what_json_has_no_word_for_is_refused(value: Any) -> None:
    """msgspec alone would write some of these, and they would come back as something else."""
    with pytest.raises(TypeError):
        encode(value)
