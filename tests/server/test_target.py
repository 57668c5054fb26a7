"""`module:attribute`, right and wrong: each mistake has one line with the cure."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from fivenines.errors import ConfigurationError
from fivenines.server import target

if TYPE_CHECKING:
    from pathlib import Path

SOURCE = """
async def service(scope, receive, send): ...
def wsgi(environ, start_response): ...
class Service:
    async def __call__(self, scope, receive, send): ...
made = Service()
number = 3
"""


@pytest.fixture(autouse=True)
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with applications, as the working folder."""
    for name, source in {
        "target_app": SOURCE,
        "target_broken": "x = 1\nraise ValueError('no\\nway')",
        "target_syntax": "def",
        "target_needs": "import no_such_package.part",
        "target_exits": "import sys; sys.exit(3)",
        "target_loud": "print('loud')\n" + SOURCE,
    }.items():
        (tmp_path / f"{name}.py").write_text(source)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "modules", dict(sys.modules))


@pytest.mark.parametrize("name", ["target_app:service", "target_app:made", "target_app:made.__call__"])
def test_asgi_applications_are_found(name: str) -> None:
    """Functions, objects, and attributes of attributes."""
    assert callable(target.resolve(name))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("target_app", r"'target_app' is no target: write module:attribute, such as target_app:service"),
        ("target_app.py", r"such as target_app:service"),
        ("", r"such as app:service"),
        ("target_ap:service", r"no module 'target_ap' in .*; did you mean 'target_app'\?"),
        ("target_app.inner:service", r"no module 'target_app.inner'"),
        ("target_app:servce", r"module 'target_app' has no attribute 'servce'; did you mean 'service'\?"),
        ("target_app:number", r"target_app:number is no ASGI application: it is a int"),
        ("target_app:wsgi", r"not called with scope, receive and send"),
        ("target_app:Service", r"it is a class; name an instance"),
        ("target_broken:service", r"cannot be imported: ValueError: no way \(.*target_broken.py, line 2\)"),
        (
            "target_syntax:service",
            r"cannot be imported: SyntaxError: invalid syntax \(\S*target_syntax.py, line 1\)",
        ),
        ("target_needs:service", r"it needs 'no_such_package', which is not installed \(.*, line 1\)"),
    ],
)
def test_mistakes_have_one_line(name: str, message: str) -> None:
    """The line says what is wrong, where, and what was probably meant."""
    with pytest.raises(ConfigurationError, match=message) as caught:
        target.check(name)

    assert "\n" not in str(caught.value)


def test_import_that_ends_the_process_is_told() -> None:
    """sys.exit() at import is no silent end."""
    with pytest.raises(ConfigurationError, match="its import ended the process"):
        target.check("target_exits:service")


def test_check_leaves_no_trace_in_this_process(capfd: pytest.CaptureFixture[str]) -> None:
    """The arbiter does not import what its workers shall load anew, and says nothing twice."""
    target.check("target_loud:service")

    assert "target_loud" not in sys.modules
    assert capfd.readouterr() == ("", "")
