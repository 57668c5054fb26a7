"""Settings become gunicorn's, and gunicorn takes them."""

from __future__ import annotations

import pytest
from gunicorn.config import Config

from fivenines.errors import ConfigurationError
from fivenines.server import config
from fivenines.server.app import check_settings
from fivenines.settings import Settings

KEYS = "k" * 40


def gunicorn_config(**fields: object) -> Config:
    made = Config()
    for name, value in config.gunicorn_settings(Settings(**fields), on_starting=lambda arbiter: None).items():
        made.set(name, value)
    return made


def test_mandatory_values() -> None:
    """What a replica cannot do without, as gunicorn understands it."""
    made = gunicorn_config(workers=3)

    assert made.address == [("127.0.0.1", 8000), ("127.0.0.1", 9000)]
    assert (made.workers, made.keepalive, made.graceful_timeout, made.timeout) == (3, 75, 30, 30)
    assert (made.asgi_lifespan, made.preload_app, made.control_socket_disable) == ("on", False, True)
    assert made.worker_class.__name__ == "Worker"


def test_gunicorn_believes_no_forwarding_header(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even loopback's: who is believed is RequestContext's to say."""
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "*")

    assert gunicorn_config().forwarded_allow_networks() == []
    assert gunicorn_config().forwarded_allow_ips == []


def test_part_of_a_second_is_not_taken_for_no_limit() -> None:
    """gunicorn counts whole seconds, and 0 would switch the limit off."""
    made = gunicorn_config(worker_timeout=0.4, graceful_timeout=0.4, keepalive=0.4)

    assert (made.timeout, made.graceful_timeout, made.keepalive) == (1, 1, 1)


@pytest.mark.parametrize(
    ("bind", "loopback"),
    [
        ("127.0.0.1:8000", True), ("127.9.9.9:8000", True), ("[::1]:8000", True), ("localhost:8000", True),
        ("0.0.0.0:8000", False), ("[::]:8000", False), ("10.0.0.1:8000", False), ("example:8000", False),
    ],
)  # fmt: skip
def test_loopback(bind: str, loopback: bool) -> None:
    """Only what no other machine can reach is loopback; a name may mean anything."""
    (address,) = config.addresses(Settings(bind=bind, admin_bind=""))

    assert address.is_loopback is loopback
    assert str(address) == bind


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"bind": "127.0.0.1:8000", "admin_bind": "127.0.0.1:8000"}, "both 127.0.0.1:8000"),
        ({"bind": "127.0.0.1:99999"}, "no address"),
    ],
)
def test_addresses_that_cannot_be(fields: dict[str, str], message: str) -> None:
    """Told before gunicorn tries."""
    with pytest.raises(ConfigurationError, match=message):
        config.addresses(Settings(**fields))


@pytest.mark.parametrize("where", ["bind", "admin_bind"])
def test_insecure_cookie_is_for_loopback_only(where: str) -> None:
    """One open address is enough to refuse it."""
    open_address = {where: "0.0.0.0:8123"}

    with pytest.raises(ConfigurationError, match="SESSION_COOKIE=insecure is for loopback only"):
        check_settings(Settings(secret_keys=KEYS, session_cookie="insecure", **open_address))
    check_settings(Settings(secret_keys=KEYS, session_cookie="secure", **open_address))
    check_settings(Settings(secret_keys=KEYS, session_cookie="insecure"))


def test_demo_login_is_for_loopback_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """A login without a password is never open to others."""
    monkeypatch.setenv("ORDERS_DEMO_LOGIN", "on")

    with pytest.raises(ConfigurationError, match="ORDERS_DEMO_LOGIN=on lets anyone log in"):
        check_settings(Settings(secret_keys=KEYS, bind="0.0.0.0:8000"))
    check_settings(Settings(secret_keys=KEYS))
