"""Write what `docs/reference/` is generated from the code: `api.txt` (public names) and `settings.md`.

`make docs-reference` writes them; a test compares them with the code, so that each change of a public
signature and of a setting is seen in review.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from pathlib import Path
from typing import Any, TypeVar

import msgspec

REFERENCE = Path(__file__).resolve().parent.parent / "docs" / "reference"

# What users may import. Everything else may change in any release.
PUBLIC = [
    "fivenines", "fivenines.errors", "fivenines.events", "fivenines.store", "fivenines.testing", "fivenines.web.body",
]  # fmt: skip


def api(modules: list[str] = PUBLIC) -> str:
    """Every public name with its signature, a line each."""
    lines = ["# The public names. Made by `make docs-reference`; a change here is a change for users."]
    for name in modules:
        module = importlib.import_module(name)
        lines += ["", f"[{name}]"]
        for public in sorted(public_names(module)):
            value = getattr(module, public)
            home = getattr(value, "__module__", name)
            lines += [f"{public}: see {home}"] if home != name and home in modules else describe(public, value)
    return "\n".join(lines) + "\n"


def public_names(module: Any) -> list[str]:
    declared = getattr(module, "__all__", None)
    if declared is not None:
        return list(declared)
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and getattr(value, "__module__", None) == module.__name__
        and not isinstance(value, TypeVar)
    ]


def describe(name: str, value: Any) -> list[str]:
    if inspect.isclass(value):
        bases = ", ".join(base.__name__ for base in value.__bases__ if base is not object)
        lines = [f"class {name}({bases})" if bases else f"class {name}"]
        # A constructor that is inherited stands with the class that has it.
        if {"__init__", "__new__", "__struct_fields__"} & vars(value).keys():
            lines.append(f"    {name}{signature(value)}")
        members = vars(value)
        return lines + [
            f"    {line}" for member in sorted(members) for line in describe_member(member, members[member])
        ]
    if callable(value):
        kind = "async def" if inspect.iscoroutinefunction(value) else "def"
        return [f"{kind} {name}{signature(value)}"]
    return [f"{name}: {type(value).__name__}"]


def describe_member(name: str, value: Any) -> list[str]:
    if name.startswith("_"):
        return []
    if isinstance(value, property):
        returns = inspect.signature(value.fget).return_annotation if value.fget else "Any"
        return [f"{name}: {annotation(returns)} (property)"]
    if isinstance(value, (classmethod, staticmethod)):
        return [f"{type(value).__name__} {line}" for line in describe(name, value.__func__)]
    if inspect.isfunction(value):
        return describe(name, value)
    if isinstance(value, (str, int, float, bool)) or value is None:
        return [f"{name} = {value!r}"]
    # A slot of a Struct or a dataclass stands in the constructor already.
    return []


class Verbatim(str):
    """An annotation shown as it was written, the same under every version of Python."""

    def __repr__(self) -> str:
        return str(self)


def annotation(value: Any) -> Any:
    if value is inspect.Parameter.empty:
        return value
    text = value if isinstance(value, str) else getattr(value, "__forward_arg__", None)
    return Verbatim(text or inspect.formatannotation(value))


def signature(value: Any) -> str:
    try:
        found = inspect.signature(value)
    except (TypeError, ValueError):
        return "(...)"
    parameters = [each.replace(annotation=annotation(each.annotation)) for each in found.parameters.values()]
    return str(found.replace(parameters=parameters, return_annotation=annotation(found.return_annotation)))


def settings() -> str:
    """A table of every setting: variable, default, what is allowed, meaning."""
    from fivenines.settings import PREFIX, Settings, allowed

    lines = [
        "# Settings",
        "",
        "<!-- Made by `make docs-reference` from framework/fivenines/settings.py: change that. -->",
        "",
        "Each is an environment variable, read when the service starts. A value that is not allowed stops",
        "the start with one line that names the variable, the value and what may stand there.",
        "",
        "| variable | default | unit | allowed | meaning |",
        "|---|---|---|---|---|",
    ]
    for field in msgspec.structs.fields(Settings):
        description, unit, info = "", "", msgspec.inspect.type_info(field.type)
        while isinstance(info, msgspec.inspect.Metadata):
            description = (info.extra_json_schema or {}).get("description", description)
            unit = (info.extra or {}).get("unit", unit)
            info = info.type
        default = "" if field.default in ("", msgspec.NODEFAULT) else f"`{plain(field.default)}`"
        words = re.sub(r"(?<=matches )\S+$", r"`\g<0>`", allowed(field.type))
        cells = [f"`{PREFIX}{field.name.upper()}`", default, unit, words, description]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def files() -> dict[Path, str]:
    return {REFERENCE / "api.txt": api(), REFERENCE / "settings.md": settings()}


def main() -> int:
    for path, text in files().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        changed = not path.exists() or path.read_text() != text
        path.write_text(text)
        print(f"{path.relative_to(REFERENCE.parent.parent)}: {'written' if changed else 'unchanged'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
