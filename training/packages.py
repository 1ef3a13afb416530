"""Fetches and unpacks the Debian and npm packages that fonts and texts come from; nothing is installed."""

from __future__ import annotations

import subprocess
import tarfile
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

_LISTS = tomllib.loads((Path(__file__).parent / "packages.toml").read_text("utf-8"))
DEBIAN = [*_LISTS["fonts"].split(), *_LISTS["texts"].split()]
NPM = [*(f"@expo-google-fonts/{name}" for name in _LISTS["google_fonts"].split()), *_LISTS["npm"].split()]


def fetch(folder: Path, tell: Callable[[str], None]) -> dict[str, str]:
    """Unpacks every package into `folder`/root/NAME and returns their versions; what is there already is kept.

    A package that the machine's mirror lacks is told and left out: the fonts and texts of the others still serve.
    """
    archives = folder / "archives"
    archives.mkdir(parents=True, exist_ok=True)
    versions = {}
    for name in [*DEBIAN, *NPM]:
        archive = _archive(archives, name)
        if archive is None:
            tell(f"fetching {name}")
            command = ["npm", "pack", "--silent", name] if name in NPM else ["apt-get", "download", "-qq", name]
            subprocess.run(command, cwd=archives, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            archive = _archive(archives, name)
        if archive is None:
            tell(f"{name} cannot be fetched: left out")
            continue
        _unpack(archive, folder / "root" / _stem(name))
        versions[name] = archive.name
    return versions


def _stem(name: str) -> str:
    return name.removeprefix("@").replace("/", "-")


def _archive(archives: Path, name: str) -> Path | None:
    """The newest archive of a package: NAME_VERSION_ARCH.deb, or SCOPE-NAME-VERSION.tgz from npm."""
    found: Iterator[Path] = archives.glob(f"{name}_*.deb")
    if name in NPM:
        found = (path for path in archives.glob(f"{_stem(name)}-*.tgz") if path.name[len(_stem(name)) + 1].isdigit())
    return max(found, default=None, key=lambda path: path.stat().st_mtime)


def _unpack(archive: Path, into: Path) -> None:
    done = into / ".done"
    if done.is_file():
        return
    into.mkdir(parents=True, exist_ok=True)
    if archive.suffix == ".deb":
        subprocess.run(["dpkg", "-x", archive, into], check=True)
    else:
        with tarfile.open(archive) as opened:
            opened.extractall(into, filter="data")
    done.touch()
