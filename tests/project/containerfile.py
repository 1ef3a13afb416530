"""Carries out a Containerfile in folders and chroots, as root: what its steps do is seen without a container engine."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_ENTERED = """
set -e
mount --make-rprivate /
for folder in proc dev; do mkdir -p "$root/$folder"; mount --rbind "/$folder" "$root/$folder"; done
for pair in $mounts; do
    mkdir -p "$root${pair#*:}"
    mount --bind "${pair%%:*}" "$root${pair#*:}"; mount -o remount,ro,bind "$root${pair#*:}"
done
exec chroot ${user:+--userspec="$user"} "$root" /usr/bin/env -i -C "$folder_inside" "$@"
"""


def instructions(text: str) -> Iterator[tuple[str, str]]:
    """Names and arguments, lines put together."""
    text = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE)
    for line in text.replace("\\\n", " ").splitlines():
        if line.strip():
            name, _, rest = line.partition(" ")
            yield name.upper(), " ".join(rest.split())


@dataclass(kw_only=True)
class Built:
    """A stage: its files, and what its image says of itself."""

    root: Path
    environment: dict[str, str] = field(default_factory=lambda: {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
    arguments: dict[str, str] = field(default_factory=dict)
    folder: str = "/"
    user: str = ""
    entrypoint: list[str] = field(default_factory=list)
    cmd: list[str] = field(default_factory=list)
    volume: list[str] = field(default_factory=list)

    def inside(
        self,
        command: Sequence[str],
        *,
        user: str = "",
        mounts: Mapping[Path, str] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command in it; `mounts` are seen there and cannot be written to."""
        own = {**self.environment, **(environment or {})}
        outer = {
            "PATH": os.environ["PATH"],
            "root": str(self.root),
            "user": user,
            "folder_inside": self.folder,
            "mounts": " ".join(f"{source}:{target}" for source, target in (mounts or {}).items()),
        }
        words = ["unshare", "--mount", "bash", "-c", _ENTERED, "inside"]
        words += [*(f"{name}={value}" for name, value in own.items()), *command]
        return subprocess.run(words, env=outer, capture_output=True, text=True, check=False)

    def carry_out(self, step: str, mounts: Mapping[Path, str], environment: Mapping[str, str]) -> None:
        """A RUN. AssertionError: it failed."""
        done = self.inside(["/bin/sh", "-c", step], mounts=mounts, environment={**self.arguments, **environment})
        assert done.returncode == 0, (step, done.stdout[-3000:], done.stderr[-3000:])

    def run(self, *arguments: str, mounts: Mapping[Path, str], environment: Mapping[str, str]) -> str:
        """As `docker run IMAGE ARGUMENTS`; what it says. AssertionError: it failed."""
        words = [*self.entrypoint, *(arguments or self.cmd)]
        done = self.inside(words, user=self.user, mounts=mounts, environment=environment)
        assert done.returncode == 0, (words, done.stdout[-2000:], done.stderr[-2000:])
        return done.stdout


def build(
    file: Path,
    context: Path,
    base: Path,
    work: Path,
    *,
    given: Mapping[str, str],
    mounts: Mapping[Path, str],
    environment: Mapping[str, str],
) -> Built:
    """The last stage. Every FROM is `base`; `given` are build arguments; `mounts` and `environment` are there while it is
    built, and no part of it. AssertionError: a step failed."""
    stages: dict[str, Built] = {}
    stage = Built(root=work)
    for name, rest in instructions(file.read_text()):
        match name:
            case "FROM":
                stage = Built(root=work / f"stage{len(stages)}")
                subprocess.run(["cp", "-a", base, stage.root], check=True)
                shutil.copy("/etc/resolv.conf", stage.root / "etc/resolv.conf")
                stages[rest.split()[-1]] = stage
            case "ARG":
                key, _, default = rest.partition("=")
                stage.arguments[key] = given.get(key, default)
            case "ENV":
                stage.environment |= dict(word.split("=", 1) for word in shlex.split(rest))
            case "RUN":
                stage.carry_out(rest, mounts, environment)
            case "COPY":
                _copy(rest.split(), stage, stages, context)
            case "WORKDIR":
                stage.folder = rest
                (stage.root / rest.lstrip("/")).mkdir(parents=True, exist_ok=True)
            case "USER":
                stage.user = rest
            case "ENTRYPOINT" | "CMD" | "VOLUME":
                setattr(stage, name.lower(), json.loads(rest))
            case "LABEL" | "STOPSIGNAL" | "HEALTHCHECK":
                pass
            case _:
                raise AssertionError(f"no step is known by the name {name}")
    return stage


def _copy(words: list[str], stage: Built, stages: Mapping[str, Built], context: Path) -> None:
    source_root = context
    if words[0].startswith("--from="):
        source_root = stages[words.pop(0).removeprefix("--from=")].root
    *sources, target = words
    for source in sources:
        place = stage.root / target.lstrip("/")
        path = source_root / source.lstrip("/")
        if path.is_dir():
            shutil.copytree(
                path, place, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True
            )
        else:
            place = place / path.name if target.endswith("/") else place
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, place)
