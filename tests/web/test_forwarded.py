"""What is believed of forwarding headers."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fivenines.web.forwarded import Proxies, parse_address

PROXIES = Proxies([ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("::1/128")])


@pytest.mark.parametrize(
    ("value", "client"),
    [
        ("1.2.3.4", "1.2.3.4"),
        ("1.2.3.4:5678", "1.2.3.4"),
        ("6.6.6.6, 1.2.3.4, 10.1.1.1", "1.2.3.4"),
        ("10.1.1.1, 10.2.2.2", "10.1.1.1"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("::ffff:1.2.3.4", "1.2.3.4"),
        ("6.6.6.6, junk, 10.1.1.1", "10.1.1.1"),
        ("junk", None),
        ("", None),
    ],
)
def test_the_rightmost_hop_that_is_not_trusted(value: str, client: str | None) -> None:
    """A hop that is no address hides whatever stands left of it."""
    assert PROXIES.client_and_scheme([(b"x-forwarded-for", value.encode())])[0] == client


def test_several_fields_are_one_list() -> None:
    """A proxy may add its own field instead of appending."""
    headers = [(b"x-forwarded-for", b"6.6.6.6"), (b"x-forwarded-for", b"1.2.3.4")]

    assert PROXIES.client_and_scheme(headers)[0] == "1.2.3.4"


def test_forwarded_is_read_where_the_older_headers_are_missing() -> None:
    """RFC 7239, with quotes and ports."""
    headers = [(b"forwarded", b'for=6.6.6.6, for="[2001:db8::9]:80";proto=https;by=10.0.0.1, for=10.0.0.2;proto=http')]

    assert PROXIES.client_and_scheme(headers) == ("2001:db8::9", "http")


@pytest.mark.parametrize("scheme", ["javascript", "", "https://x"])
def test_an_unknown_scheme_is_ignored(scheme: str) -> None:
    """It would end up in URLs."""
    assert PROXIES.client_and_scheme([(b"x-forwarded-proto", scheme.encode())])[1] is None


@pytest.mark.parametrize(
    ("host", "trusted"),
    [("10.9.9.9", True), ("11.0.0.1", False), ("::1", True), (None, True), ("x", False)],
)
def test_who_is_trusted(host: str | None, trusted: bool) -> None:
    """No address is a unix socket, which only this machine reaches; a name is nobody."""
    assert PROXIES.trusts(host) is trusted


@given(st.lists(st.sampled_from(["6.6.6.6", "1.2.3.4", "10.1.1.1", "junk", ""]), max_size=6))
def test_nobody_left_of_a_stranger_is_ever_believed(hops: list[str]) -> None:
    """Property: the answer never changes with what is prepended."""
    believed = PROXIES.client_and_scheme([(b"x-forwarded-for", ", ".join(["9.9.9.9", *hops]).encode())])[0]
    other = PROXIES.client_and_scheme([(b"x-forwarded-for", ", ".join(["8.8.8.8", *hops]).encode())])[0]
    if any(hop in ("6.6.6.6", "1.2.3.4", "junk", "") for hop in hops):
        assert believed == other


@given(st.text(max_size=60))
def test_no_text_breaks_the_parser(text: str) -> None:
    """An address or None, never an exception."""
    parse_address(text)
