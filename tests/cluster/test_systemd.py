"""The units of `set-up --systemd` are accepted by systemd, and limit what a service may do."""

from __future__ import annotations

import random
import re
import subprocess
from pathlib import Path

import pytest

from pero_worker.clock import SystemClock
from pero_worker.cluster.settings import options_in, read_settings
from pero_worker.cluster.setup.files import SetupOptions, make_set_up

NAMES = {"pero-worker@.service", "pero-watchdog.service", "pero-metrics.service"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    program = tmp_path / "bin/pero-worker"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    options = SetupOptions(folder=tmp_path / "cluster", hosts=("localhost",), systemd=program)
    make_set_up(options, SystemClock(), random.randbytes)
    return tmp_path / "cluster"


def test_systemd_takes_the_units(folder: Path) -> None:
    units = sorted((folder / "systemd").iterdir())
    assert {unit.name for unit in units} == NAMES
    instances = [str(unit).replace("@.service", "@1.service") for unit in units]
    (folder / "systemd/pero-worker@1.service").symlink_to("pero-worker@.service")
    checked = subprocess.run(["systemd-analyze", "verify", *instances], capture_output=True, text=True, check=False)
    assert checked.returncode == 0 and not checked.stderr.strip(), checked.stderr


def test_services_are_nobody_and_get_their_files_as_credentials(folder: Path) -> None:
    for unit in (folder / "systemd").iterdir():
        text = unit.read_text()
        assert "DynamicUser=yes" in text and "ProtectSystem=strict" in text and "NoNewPrivileges=yes" in text
        assert set(re.findall(r"LoadCredential=(\S+):", text)) == {"client.toml", "ca.pem", "known_hosts"}
        assert "password" not in text


def test_the_clients_files_can_be_moved_together(folder: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for name in ("client.toml", "ca.pem", "known_hosts"):
        (folder / name).rename(moved / name)
    options = options_in(read_settings(moved / "client.toml"))
    assert (options.ca_cert, options.known_hosts) == (str(moved / "ca.pem"), str(moved / "known_hosts"))
