"""Settings: every wrong value is told by its variable, and secrets are never shown."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fivenines.errors import ConfigurationError
from fivenines.settings import Settings

SECRET = "s3cret" * 6


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("FIVENINES_DRAIN", "-1", "at least 0"),
        ("FIVENINES_DRAIN", "soon", "a number"),
        ("FIVENINES_WORKERS", "1.5", "a whole number"),
        ("FIVENINES_WORKERS", "0", "at least 1"),
        ("FIVENINES_LOG_FORMAT", "xml", "one of json, text"),
        ("FIVENINES_BIND", "8000", "text that matches"),
        ("FIVENINES_NAME", "a:b", "text that matches"),
        ("FIVENINES_TRUSTED_PROXIES", "localhost", "address or network"),
        ("FIVENINES_SESSION_IDLE", "nan", "a number"),
    ],
)
def test_a_wrong_value_names_variable_value_and_what_is_allowed(variable: str, value: str, told: str) -> None:
    """Enough to put it right without opening the documentation."""
    with pytest.raises(ConfigurationError) as caught:
        Settings.from_environment({variable: value})

    assert variable in str(caught.value)
    assert value in str(caught.value)
    assert told in str(caught.value)


def test_an_unknown_variable_names_its_neighbour() -> None:
    """A typing error that is ignored is a setting that does not work."""
    with pytest.raises(ConfigurationError, match="did you mean FIVENINES_REDIS_URL"):
        Settings.from_environment({"FIVENINES_REDIS_URI": "redis://x"})


def test_other_variables_are_nobodys_business() -> None:
    """The environment is full of them."""
    assert Settings.from_environment({"PATH": "/bin", "REDIS_URL": "x"}).redis_url.startswith("redis://127.0.0.1")


def test_secrets_show_nowhere() -> None:
    """Not in the repr, not in an error."""
    settings = Settings.from_environment(
        {"FIVENINES_SECRET_KEYS": SECRET, "FIVENINES_REDIS_URL": "redis://user:hunter2@h:1/0"}
    )
    shown = f"{settings!r} {settings.keys!r}"
    with pytest.raises(ConfigurationError) as short:
        Settings.from_environment({"FIVENINES_SECRET_KEYS": "tooshort"})
    with pytest.raises(ConfigurationError) as scheme:
        Settings.from_environment({"FIVENINES_REDIS_URL": "http://user:hunter2@h"})

    for text in (shown, str(short.value), str(scheme.value)):
        assert SECRET not in text
        assert "hunter2" not in text
        assert "tooshort" not in text


def test_keys_differ_by_label_and_by_secret() -> None:
    """A signature made for one purpose is worth nothing for another."""
    keys = Settings.from_environment({"FIVENINES_SECRET_KEYS": f"{SECRET}, {SECRET[::-1]}"}).keys

    assert len({keys.sign_key("a"), keys.sign_key("b"), *keys.verify_keys("a"), *keys.verify_keys("b")}) == 4
    assert keys.sign_key("a") == keys.verify_keys("a")[0]


def test_no_keys_is_told_when_they_are_needed_with_the_command() -> None:
    """Never a default, never one made per process."""
    settings = Settings.from_environment({})
    with pytest.raises(ConfigurationError, match="token_urlsafe"):
        settings.require_secret_keys()
    with pytest.raises(ConfigurationError, match="FIVENINES_SECRET_KEYS"):
        settings.keys.sign_key("a")


def test_absolute_expiry_is_not_shorter_than_idle() -> None:
    """It could never matter otherwise."""
    with pytest.raises(ConfigurationError, match="FIVENINES_SESSION_ABSOLUTE"):
        Settings.from_environment({"FIVENINES_SESSION_ABSOLUTE": "60"})


def test_the_admin_port_is_another_port() -> None:
    """Requests are told apart by it."""
    with pytest.raises(ConfigurationError, match="FIVENINES_ADMIN_BIND"):
        Settings.from_environment({"FIVENINES_ADMIN_BIND": "127.0.0.2:8000"})


def test_the_name_is_the_default_namespace() -> None:
    """And an override wins over the environment."""
    assert Settings.from_environment({"FIVENINES_NAME": "orders"}).key_prefix == "orders"
    assert Settings.from_environment({"FIVENINES_NAME": "orders"}, namespace="mine").key_prefix == "mine"
    assert Settings(name="orders").key_prefix == "orders"


def test_settings_cross_a_fork_or_a_pipe() -> None:
    """A value, nothing else."""
    settings = Settings.from_environment({"FIVENINES_SECRET_KEYS": SECRET})

    assert pickle.loads(pickle.dumps(settings)) == settings


@given(st.sampled_from(Settings.__struct_fields__), st.text(max_size=30))
def test_no_text_gives_anything_but_settings_or_a_configuration_error(field: str, text: str) -> None:
    """Property: whatever stands in a variable."""
    variable = f"FIVENINES_{field.upper()}"
    told = variable
    try:
        Settings.from_environment({variable: text})
    except ConfigurationError as error:
        told = str(error)

    assert variable in told
