"""From `module:attribute` to an ASGI application, or one line that says what is wrong with it."""

from __future__ import annotations

import contextlib
import difflib
import importlib
import inspect
import os
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fivenines.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable


def resolve(target: str) -> Any:
    """Import the application. Raises ConfigurationError with the cure in its one line."""
    module_name, _, attribute = target.partition(":")
    if not module_name or not attribute:
        raise ConfigurationError(f"{target!r} is no target: write module:attribute, such as {_example(target)}")
    application: Any = _import(module_name)
    for name in attribute.split("."):
        try:
            application = getattr(application, name)
        except AttributeError:
            hint = _nearest(name, (each for each in dir(application) if not each.startswith("_")))
            raise ConfigurationError(f"module {module_name!r} has no attribute {name!r}{hint}") from None
    if flaw := _not_asgi(application):
        raise ConfigurationError(f"{target} is no ASGI application: {flaw}")
    return application


def check(target: str) -> None:
    """Resolve the target in a child process, so that a mistake is told before a port is opened.

    The arbiter itself must not import the application: workers are forked from it, and would then keep the
    old code after SIGHUP.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _check_in_child(target, writing)
    os.close(writing)
    with open(reading, "rb") as pipe:
        message = pipe.read().decode("utf-8", "replace")
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if message:
        raise ConfigurationError(message)
    if code:
        raise ConfigurationError(f"{target} cannot be imported: its import ended the process (exit code {code})")


def _check_in_child(target: str, pipe: int) -> None:
    code = 1
    with contextlib.suppress(BaseException):
        # The workers import it once more, and what it prints then is enough.
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        sys.stdout = sys.stderr = os.fdopen(quiet, "w")
        try:
            resolve(target)
            code = 0
        except ConfigurationError as error:
            os.write(pipe, str(error).encode())
    os._exit(code)


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            hint = _nearest(name, _modules_here())
            raise ConfigurationError(f"no module {name!r} in {os.getcwd()}{hint}") from None
        raise ConfigurationError(
            f"{name} cannot be imported: it needs {error.name!r}, which is not installed {_place(error)}"
        ) from error
    except Exception as error:
        told = error.msg if isinstance(error, SyntaxError) else error
        what = " ".join(f"{type(error).__name__}: {told}".split())
        raise ConfigurationError(f"{name} cannot be imported: {what} {_place(error)}") from error


def _place(error: Exception) -> str:
    """File and line of the user's code in which the error arose."""
    if isinstance(error, SyntaxError):
        return f"({error.filename}, line {error.lineno})"
    frames = [
        frame for frame in traceback.extract_tb(error.__traceback__)
        if "importlib" not in frame.filename and frame.filename != __file__
    ]  # fmt: skip
    return f"({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""


def _not_asgi(candidate: Any) -> str:
    if inspect.ismodule(candidate):
        return "it is a module; name the application in it"
    if not callable(candidate):
        return f"it is a {type(candidate).__name__}"
    if inspect.isclass(candidate):
        return "it is a class; name an instance"
    try:
        inspect.signature(candidate).bind("scope", "receive", "send")
    except TypeError:
        return f"it is not called with scope, receive and send, but with {inspect.signature(candidate)}"
    except ValueError:  # a callable without a signature: believed
        pass
    return ""


def _example(target: str) -> str:
    name = target.removesuffix(":").removesuffix(".py").replace("/", ".").strip(".")
    return f"{name or 'app'}:service"


def _modules_here() -> Iterable[str]:
    here = Path.cwd()
    yield from (path.stem for path in here.glob("*.py"))
    yield from (path.parent.name for path in here.glob("*/__init__.py"))


def _nearest(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), 1)
    return f"; did you mean {near[0]!r}?" if near else ""


def put_working_folder_on_path() -> None:
    """Let `app:service` mean ./app.py, whichever way the command was started."""
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
