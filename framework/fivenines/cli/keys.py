"""The secret key that `dev` and `up` keep in the project, so that sessions outlive a restart of the tool."""

from __future__ import annotations

import os
import secrets
import tempfile
from pathlib import Path

from fivenines.errors import ConfigurationError


def project_folder(project: Path | None = None) -> Path:
    """The project's `.fivenines/`: for its owner alone (0700), and ignored by git. Made at need."""
    folder = (project or Path.cwd()) / ".fivenines"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        folder.chmod(0o700)
        ignore = folder / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n")
    except OSError as error:
        raise ConfigurationError(f"cannot keep {folder}: {error.strerror}; run where you may write") from None
    return folder


def project_secret_keys(project: Path | None = None) -> str:
    """The keys for FIVENINES_SECRET_KEYS, made at the first call; the file is its owner's alone (0600)."""
    path = project_folder(project) / "secret-keys"
    if not path.exists():
        _create(path)
    path.chmod(0o600)
    keys = path.read_text().strip()
    if not keys:
        raise ConfigurationError(f"{path} is empty: remove it, and a new key is made")
    return keys


def _create(path: Path) -> None:
    """Write aside, then link: of two processes at once one wins, and nobody reads half a key."""
    handle, name = tempfile.mkstemp(dir=path.parent)  # mode 0600
    try:
        with os.fdopen(handle, "w") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
        os.link(name, path)
    except FileExistsError:
        pass
    finally:
        os.unlink(name)
