"""The canary: a gunicorn without the names we lean on fails here, with a list, and nowhere in production."""

from __future__ import annotations

from gunicorn.asgi.protocol import ASGIProtocol

from fivenines.server import _gunicorn


def test_gunicorn_has_every_name_we_lean_on() -> None:
    """A release that renames one of them needs a look at server/_gunicorn.py and server/worker.py."""
    assert _gunicorn.missing_names() == []


def test_canary_notices_a_missing_name(monkeypatch) -> None:
    """The table is really compared with the classes."""
    monkeypatch.setitem(_gunicorn.NAMES, ASGIProtocol, ("_task", "_gone"))

    assert _gunicorn.missing_names() == ["ASGIProtocol._gone"]
