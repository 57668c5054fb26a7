"""The key that `dev` keeps: one a project, its owner's alone."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from fivenines.cli.keys import project_secret_keys
from fivenines.errors import ConfigurationError
from fivenines.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path


def test_key_is_made_once_and_good_enough_to_serve(tmp_path: Path) -> None:
    """Sessions outlive a restart, since the second call finds the first one's key."""
    keys = project_secret_keys(tmp_path)

    assert project_secret_keys(tmp_path) == keys
    Settings.from_environment({"FIVENINES_SECRET_KEYS": keys}).require_secret_keys()


def test_nobody_else_reads_it_and_git_does_not_see_it(tmp_path: Path) -> None:
    """Folder 0700, file 0600, whatever the umask; also when someone had widened them."""
    previous = os.umask(0)
    try:
        project_secret_keys(tmp_path)
        (tmp_path / ".fivenines" / "secret-keys").chmod(0o644)
        (tmp_path / ".fivenines").chmod(0o755)
        project_secret_keys(tmp_path)
    finally:
        os.umask(previous)

    folder = tmp_path / ".fivenines"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "secret-keys").stat().st_mode & 0o777 == 0o600
    assert (folder / ".gitignore").read_text() == "*\n"
    assert sorted(path.name for path in folder.iterdir()) == [".gitignore", "secret-keys"]


def test_callers_at_the_same_time_agree(tmp_path: Path) -> None:
    """Two tools started at once never have two keys, nor half of one."""
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(lambda _: project_secret_keys(tmp_path), range(32)))

    assert len(keys) == 1
    assert len(keys.pop()) == 43


def test_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """With the path and the reason."""
    (tmp_path / ".fivenines").write_text("a file in the way")

    with pytest.raises(ConfigurationError, match=r"cannot keep .*\.fivenines"):
        project_secret_keys(tmp_path)


def test_empty_file_is_told(tmp_path: Path) -> None:
    """A new key would log everyone out, so that is the user's to decide."""
    project_secret_keys(tmp_path)
    (tmp_path / ".fivenines" / "secret-keys").write_text("")

    with pytest.raises(ConfigurationError, match="is empty: remove it"):
        project_secret_keys(tmp_path)
