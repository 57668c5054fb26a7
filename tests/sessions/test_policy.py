"""The cookie, its signature, cross-site requests, differences: without I/O."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fivenines.sessions._policy import (
    MAX_COOKIE,
    CookiePolicy,
    Headers,
    changes,
    check_principal,
    encode_field,
    is_cross_site,
    new_id,
    stored_id,
)
from fivenines.settings import Settings

KEYS = ["a" * 32, "b" * 32, "c" * 32]
principals = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(lambda s: len(s.encode()) <= 1024)


def policy(keys: str = KEYS[0], **overrides: str) -> CookiePolicy:
    return CookiePolicy.from_settings(Settings.from_environment({}, secret_keys=keys, **overrides))


def sent(value: str, name: str = "__Host-session") -> Headers:
    return [(b"accept", b"*/*"), (b"cookie", f"theme=dark; {name}={value}".encode("latin-1"))]


@given(principals | st.none())
def test_cookie_says_what_was_signed(principal: str | None) -> None:
    """Any principal comes back as it went, within what a browser keeps."""
    id, cookies = new_id(), policy()

    claim = cookies.read(sent(cookies.sign(id, principal)))

    assert claim is not None
    assert (claim.id, claim.principal, claim.resign) == (id, principal, False)
    assert len(cookies.set(id, principal)) <= MAX_COOKIE


@given(st.integers(0, 200), st.characters(codec="latin-1"))
def test_any_changed_character_is_refused(position: int, character: str) -> None:
    """Not one character of a signed cookie can be exchanged: not in the id, the principal or the signature."""
    value = policy().sign("A" * 43, "ada")
    position %= len(value)
    changed = value[:position] + character + value[position + 1 :]

    assert (policy().verify(changed) is None) == (changed != value)


@given(st.text() | st.binary().map(lambda data: data.decode("latin-1")))
def test_nonsense_is_ignored(value: str) -> None:
    """Whatever a client sends, reading it raises nothing and gives nothing."""
    assert policy().verify(value) is None
    assert policy().read([(b"cookie", value.encode("utf-8", "surrogatepass"))]) is None


@pytest.mark.parametrize(
    "value",
    [
        "",
        "..",
        "A" * 43,
        "A" * 43 + "..",
        "A" * 43 + ".YWRh." + "A" * 22,
        "A" * 43 + "." + "A" * 5000 + "." + "A" * 22,
        "A" * 1_048_576,
        policy("z" * 32).sign("A" * 43, "ada"),
        '"' + policy().sign("A" * 43, "ada") + '"',
        policy().sign("A" * 43, "ada") + "=",
        policy().sign("A" * 43, "ada").replace(".", "%2E"),
    ],
)
def test_unsigned_value_is_ignored(value: str) -> None:
    """Malformed, oversize, unsigned, signed by a key that is not ours: all the same as no cookie."""
    assert policy().read(sent(value)) is None


def test_first_valid_cookie_counts() -> None:
    """A planted cookie of the same name hides nothing, wherever it stands, and other names are not ours."""
    cookies = policy()
    good = cookies.sign("A" * 43, "ada")

    assert cookies.read([*sent("planted"), *sent(good)]) is not None
    assert cookies.read([(b"cookie", f"__Host-session=x; __Host-session={good};".encode())]) is not None
    assert cookies.read(sent(good, name="session")) is None
    assert cookies.read(sent(good, name="x__Host-session")) is None


def test_name_is_signed_too() -> None:
    """A cookie made over plain HTTP is worth nothing under the secure name."""
    insecure = policy(session_cookie="insecure")

    assert policy().verify(insecure.sign("A" * 43, "ada")) is None


def test_older_key_verifies_and_asks_to_sign_anew() -> None:
    """Every key of the list verifies, the first one signs."""
    old, both = policy(KEYS[0]), policy(f"{KEYS[1]},{KEYS[0]}")
    value = old.sign("A" * 43, "ada")

    claim = both.verify(value)

    assert claim is not None
    assert claim.resign
    assert old.verify(both.sign("A" * 43, "ada")) is None
    assert policy(KEYS[2]).verify(value) is None


def test_secure_cookie_has_every_attribute() -> None:
    """The header names what browsers demand for the prefix, and lives as long as the session may be idle."""
    header = policy(session_idle=90).set("A" * 43, "ada").decode()

    assert header.startswith("__Host-session=" + "A" * 43)
    attributes = {part.strip() for part in header.split(";")[1:]}
    assert attributes == {"Max-Age=90", "Path=/", "HttpOnly", "SameSite=Lax", "Secure"}
    cleared = policy().clear().decode()
    assert cleared == '__Host-session=""; Max-Age=0; Path=/; HttpOnly; SameSite=Lax; Secure'


def test_insecure_cookie_travels_over_plain_http() -> None:
    """Without Secure there is no prefix either: browsers would drop it."""
    header = policy(session_cookie="insecure", session_same_site="strict").set("A" * 43, None).decode()

    assert header.startswith("session=")
    assert "Secure" not in header
    assert "SameSite=Strict" in header


def test_stored_name_tells_nothing_of_the_id() -> None:
    """The key in Redis is a hash, the same under every secret key."""
    id = new_id()

    assert id not in stored_id(id)
    assert stored_id(id) == stored_id(id) != stored_id(new_id())


CROSS_SITE = [
    # method, scheme, Sec-Fetch-Site, Origin, Host, refused
    ("POST", "https", None, None, "shop.example", False),  # no browser
    ("POST", "https", "same-origin", None, "shop.example", False),
    ("POST", "https", "none", None, "shop.example", False),
    ("POST", "https", "cross-site", None, "shop.example", True),
    ("POST", "https", "same-site", None, "shop.example", True),
    ("POST", "https", "nonsense", None, "shop.example", True),
    ("POST", "https", "cross-site", "https://evil.example", "shop.example", True),
    ("POST", "https", "same-origin", "https://shop.example", "backend", False),  # a proxy that changes Host
    ("POST", "https", None, "https://shop.example", "shop.example", False),
    ("POST", "https", None, "https://SHOP.example:443", "shop.example", False),
    ("POST", "https", None, "https://shop.example:8443", "shop.example:8443", False),
    ("POST", "https", None, "https://shop.example:8443", "shop.example", True),
    ("POST", "https", None, "http://shop.example", "shop.example", True),
    ("POST", "http", None, "http://shop.example", "shop.example", False),
    ("POST", "https", None, "https://shop.example.evil.example", "shop.example", True),
    ("POST", "https", None, "https://shop.example@evil.example", "shop.example", True),
    ("POST", "https", None, "https://[::1]", "[::1]", False),
    ("POST", "https", None, "https://[::1", "[::1", True),
    ("POST", "https", None, "null", "shop.example", True),
    ("POST", "https", None, "", "shop.example", True),
    ("POST", "https", None, "https://shop.example", None, True),
    ("PUT", "https", "cross-site", None, "shop.example", True),
    ("PATCH", "https", "cross-site", None, "shop.example", True),
    ("DELETE", "https", "cross-site", None, "shop.example", True),
    ("PROPFIND", "https", "cross-site", None, "shop.example", True),  # unknown: unsafe
    ("GET", "https", "cross-site", "https://evil.example", "shop.example", False),
    ("HEAD", "https", "cross-site", None, "shop.example", False),
    ("OPTIONS", "https", "cross-site", "https://evil.example", "shop.example", False),
    ("GET", "wss", None, "https://evil.example", "shop.example", True),
    ("GET", "wss", None, "https://shop.example", "shop.example", False),
    ("GET", "ws", None, "http://shop.example", "shop.example", False),
]


@pytest.mark.parametrize(("method", "scheme", "site", "origin", "host", "refused"), CROSS_SITE)
def test_cross_site_rule(
    method: str, scheme: str, site: str | None, origin: str | None, host: str | None, refused: bool
) -> None:
    """Who may send an unsafe request with the session's cookie."""
    pairs = {b"sec-fetch-site": site, b"origin": origin, b"host": host}
    headers = [(name, value.encode()) for name, value in pairs.items() if value is not None]

    assert is_cross_site(method, scheme, headers) is refused


def test_header_sent_twice_equals_nothing() -> None:
    """Two Origins, or two Sec-Fetch-Sites, are not what any browser sends."""
    host = (b"host", b"shop.example")

    assert is_cross_site("POST", "https", [host, *[(b"origin", b"https://shop.example")] * 2])
    assert is_cross_site("POST", "https", [host, *[(b"sec-fetch-site", b"same-origin")] * 2])


fields = st.dictionaries(st.sampled_from("abcd"), st.sampled_from([b"1", b"2"]))


@given(fields, fields)
def test_changes_lead_from_one_to_the_other(before: dict[str, bytes], after: dict[str, bytes]) -> None:
    """Applied, they give the new fields, and they name nothing that is the same."""
    change = changes(before, after)

    result = {k: v for k, v in (before | change.set).items() if k not in change.removed}
    assert result == after
    assert all(before.get(name) != value for name, value in change.set.items())
    assert bool(change) == (before != after)


endless: list[object] = []
endless.append(endless)


@pytest.mark.parametrize(
    "value", [b"bytes", {1: "key"}, {"s": {1, 2}}, object(), float("nan"), "\ud800", [1j], endless]
)
def test_what_is_no_json_names_the_field(value: object) -> None:
    """A TypeError that tells which field is wrong, never a pickle or a value that comes back as another."""
    with pytest.raises(TypeError, match="'cart'"):
        encode_field("cart", value)


@pytest.mark.parametrize(("principal", "error"), [(7, TypeError), (None, TypeError), ("", ValueError),
                                                  ("ä" * 513, ValueError), ("\ud800", ValueError)])  # fmt: skip
def test_principal_must_fit_into_a_cookie(principal: object, error: type[Exception]) -> None:
    """What a cookie cannot carry is refused at the login."""
    with pytest.raises(error):
        check_principal(principal)
