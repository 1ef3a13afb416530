"""Remembers the clusters that `pero-worker up` started for this user, so that commands find them and the login."""

from __future__ import annotations

import json
import os
from pathlib import Path

import platformdirs

from pero_worker.errors import OutputError
from pero_worker.servers.daemon import Daemon
from pero_worker.servers.private import write_private

CLIENT_FILE = "client.toml"
"""Name of the file that says how clients reach the servers of a folder and log in: a configuration as every command
takes it."""


def remember(folder: Path) -> None:
    """Records `folder` as the newest cluster and forgets those that are gone. Raises `OutputError` if the list cannot
    be written."""
    others = (one for one in _noted() if one != folder.absolute() and (one / CLIENT_FILE).is_file())
    path = _list()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_private(path, json.dumps([os.fspath(one) for one in (*others, folder.absolute())]))
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error


def client_files() -> list[Path]:
    """Returns the client files of the clusters whose ZooKeeper is running, newest first."""
    return [
        folder / CLIENT_FILE
        for folder in reversed(_noted())
        if (folder / CLIENT_FILE).is_file() and Daemon(name="zookeeper", folder=folder / "zookeeper").pid is not None
    ]


def _list() -> Path:
    return platformdirs.user_state_path("pero-worker") / "up.json"


def _noted() -> list[Path]:
    """Returns the recorded folders; a missing or damaged list counts as empty."""
    try:
        found = json.loads(_list().read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return []
    return [Path(one) for one in found if isinstance(one, str)] if isinstance(found, list) else []
