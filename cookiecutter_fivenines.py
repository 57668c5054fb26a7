"""What the template needs from the repository it lies in: the repository's root, and the framework as a wheel.

cookiecutter imports `FrameworkRoot` as a Jinja extension. It is how the post-generation hook, which is rendered to a
temporary file and run elsewhere, finds the framework: cookiecutter names the repository's folder relative to a
working directory that has changed by then, and cruft does not name it at all.

The wheel is written without pip, a build backend or a network, and its bytes depend on the sources alone, so that
the same answers make the same project everywhere and a lock may hold its hash.
"""

from __future__ import annotations

import base64
import hashlib
import io
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2.ext import Extension

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jinja2 import Environment

# Resolved while the module is imported: cookiecutter's path may be relative, and it changes folders later.
_HERE = Path(__file__).resolve().parent
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the oldest time that a zip can hold


class FrameworkRoot(Extension):
    """Gives templates and hooks `fivenines_root`, the absolute path of this repository's copy."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        environment.globals["fivenines_root"] = str(repository_root())


def repository_root() -> Path:
    """The folder of the template being generated from.

    A process that generates twice imports this module once, so the folder it was imported from may be another
    repository's, or a temporary one that is gone. Both cookiecutter and cruft put the template in use last on
    sys.path; only an absolute entry is believed, since the working directory is no longer the user's.
    """
    for entry in reversed(sys.path):
        folder = Path(entry)
        if folder.is_absolute() and (folder / "cookiecutter.json").is_file() and (folder / "framework").is_dir():
            return folder.resolve()
    return _HERE


def build_wheel(root: Path) -> tuple[str, bytes]:
    """The framework's wheel: its file name and its bytes.

    Stored, not compressed: what deflate writes differs between versions of zlib.
    """
    import tomllib

    configuration = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    project = configuration["project"]
    stem = f"{project['name'].replace('-', '_')}-{project['version']}"
    dist_info = f"{stem}.dist-info"

    members = dict(_sources(root, configuration["tool"]["hatch"]["build"]["targets"]["wheel"]))
    members |= {f"{dist_info}/licenses/{name}": (root / name).read_bytes() for name in project["license-files"]}
    members[f"{dist_info}/METADATA"] = _metadata(project).encode()
    members[f"{dist_info}/WHEEL"] = (
        b"Wheel-Version: 1.0\nGenerator: cookiecutter_fivenines\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    members[f"{dist_info}/entry_points.txt"] = _entry_points(project).encode()
    members = dict(sorted(members.items()))
    members[f"{dist_info}/RECORD"] = _record(members, f"{dist_info}/RECORD").encode()

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in members.items():
            info = zipfile.ZipInfo(name, _EPOCH)
            info.external_attr = 0o100644 << 16
            info.create_system = 3  # Unix, on whatever system this runs
            archive.writestr(info, data)
    return f"{stem}-py3-none-any.whl", buffer.getvalue()


def _sources(root: Path, wheel: dict[str, Any]) -> Iterator[tuple[str, bytes]]:
    """The files that hatchling would take, by the same two settings of pyproject.toml."""
    for included in wheel["only-include"]:
        start = root / included
        for path in [start] if start.is_file() else start.rglob("*"):
            relative = path.relative_to(root)
            hidden = any(part == "__pycache__" or part.startswith(".") for part in relative.parts)
            if path.is_file() and not hidden and path.suffix not in {".pyc", ".pyo"}:
                name = relative.as_posix()
                for prefix in wheel["sources"]:
                    name = name.removeprefix(f"{prefix}/")
                yield name, path.read_bytes()


def _metadata(project: dict[str, Any]) -> str:
    # No description: a change of the README should not change every service's lock.
    lines = [
        "Metadata-Version: 2.4",
        f"Name: {project['name']}",
        f"Version: {project['version']}",
        f"Summary: {project['description']}",
        f"License-Expression: {project['license']}",
        *(f"License-File: {name}" for name in project["license-files"]),
        f"Requires-Python: {project['requires-python']}",
        *(f"Requires-Dist: {requirement}" for requirement in project["dependencies"]),
    ]
    for extra, requirements in sorted(project.get("optional-dependencies", {}).items()):
        lines.append(f"Provides-Extra: {extra}")
        for requirement in requirements:
            name, _, marker = (part.strip() for part in requirement.partition(";"))
            condition = f"({marker}) and extra == '{extra}'" if marker else f"extra == '{extra}'"
            lines.append(f"Requires-Dist: {name}; {condition}")
    return "\n".join(lines) + "\n"


def _entry_points(project: dict[str, Any]) -> str:
    groups = {"console_scripts": project.get("scripts", {}), **project.get("entry-points", {})}
    return "\n".join(
        f"[{group}]\n" + "".join(f"{name} = {target}\n" for name, target in sorted(points.items()))
        for group, points in sorted(groups.items())
        if points
    )


def _record(members: dict[str, bytes], record: str) -> str:
    lines = []
    for name, data in members.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        lines.append(f"{name},sha256={digest},{len(data)}")
    return "\n".join([*lines, f"{record},,"]) + "\n"
