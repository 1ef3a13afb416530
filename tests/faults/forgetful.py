"""A disk that, at a power cut, forgets what no program synced: syncs are logged in the process, and the rest is removed
afterwards."""

from __future__ import annotations

import json
import os
import random
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pero_worker.jobs.wholesync import WholeSync

_guard = threading.Lock()


def note_syncs(log: Path) -> None:
    """From now on, logs every sync of this process in `log` once it is done."""
    real, known = os.fsync, dict[int, set[str]]()
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def fsync(file: int) -> None:
        before = os.fstat(file)
        names = set(os.listdir(file)) if stat.S_ISDIR(before.st_mode) else set()
        real(file)
        with _guard:
            if stat.S_ISDIR(before.st_mode):
                old = known.setdefault(before.st_ino, set())
                line = {"folder": before.st_ino, "came": sorted(names - old), "went": sorted(old - names)}
                known[before.st_ino] = names
            else:
                line = {"file": before.st_ino, "bytes": before.st_size}
            os.write(descriptor, json.dumps(line).encode() + b"\n")

    def sync_all(disk: WholeSync) -> bool:
        root = Path(f"/proc/self/fd/{disk._descriptor}").resolve()
        before = list(_state(root))
        if not real_whole(disk):
            return False
        with _guard:
            for line in before:
                if "folder" in line:
                    names = set(line["came"])
                    line["went"] = sorted(known.get(line["folder"], set()) - names)
                    known[line["folder"]] = names
            os.write(descriptor, b"".join(json.dumps(line).encode() + b"\n" for line in before))
        return True

    os.fsync = fsync  # type: ignore[assignment]
    real_whole, WholeSync.sync = WholeSync.sync, sync_all  # type: ignore[method-assign,assignment]


def note_all(root: Path, log: Path) -> None:
    """`log` begins with what is there: it has long reached the disk."""
    with log.open("w") as stream:
        stream.writelines(json.dumps(line) + "\n" for line in _state(root))


def _state(root: Path) -> Iterator[dict[str, Any]]:
    for folder, folders, files in os.walk(root):
        yield {"folder": Path(folder).stat().st_ino, "came": [*folders, *files], "went": []}
        for name in files:
            found = os.lstat(Path(folder) / name)
            yield {"file": found.st_ino, "bytes": found.st_size}


def cut_power(root: Path, log: Path, chance: random.Random) -> int:
    """Of what `log` does not tell, a half is lost, names or contents, by chance. How many files lost something."""
    sizes: dict[int, int] = {}
    names: dict[int, set[str]] = {}
    for line in log.read_text().splitlines():
        done = json.loads(line)
        if "file" in done:
            sizes[done["file"]] = done["bytes"]
        else:
            names[done["folder"]] = (names.get(done["folder"], set()) | set(done["came"])) - set(done["went"])
    lost = 0
    for folder, _, files in os.walk(root):
        synced = names.get(Path(folder).stat().st_ino)
        for name in files:
            path = Path(folder) / name
            found = path.lstat()
            if synced is not None and name not in synced and chance.random() < 0.5:
                path.unlink()
                lost += 1
            elif found.st_size > sizes.get(found.st_ino, 0) and chance.random() < 0.5:
                # The length is there, the contents are not: what ext4 and xfs leave of a file that was not synced.
                with path.open("rb+") as stream:
                    stream.seek(sizes.get(found.st_ino, 0))
                    stream.write(bytes(found.st_size - stream.tell()))
                lost += 1
    return lost
