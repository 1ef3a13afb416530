"""Systemd units that run workers, watchdog and metrics as services with no more access than they need."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

_HARDENING = """\
DynamicUser=yes
CacheDirectory=pero-worker
StateDirectory=pero-worker
Environment=HOME=%S/pero-worker XDG_CACHE_HOME=%C/pero-worker
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
LockPersonality=yes
CapabilityBoundingSet=
SystemCallArchitectures=native
UMask=0077
"""
"""Restrictions on every service. Memory may be both writable and executable, as torch compiles code."""
_CREDENTIALS = ("client.toml", "ca.pem", "known_hosts")


def units(program: Path, clients: Path) -> Mapping[str, str]:
    """Returns file name -> content. `program` is the installed `pero-worker`, `clients` the folder with the clients'
    files. Services get these as credentials, so they may belong to root and be readable by nobody else."""

    def command(*words: str) -> str:
        return " ".join((str(program), *words, "--config-file", "${CREDENTIALS_DIRECTORY}/client.toml"))

    return {
        "pero-worker@.service": _unit(
            "pero-worker %i: does pages",
            command("worker", "--id", "%H-%i", "--cache", "%C/pero-worker/stages"),
            clients,
            # Five minutes for the page in hand, and 30 seconds for the process.
            "TimeoutStopSec=330\nMemoryMax=80%\nOOMPolicy=continue\n",
        ),
        "pero-watchdog.service": _unit("pero-worker's watchdog: who serves what", command("watchdog"), clients),
        "pero-metrics.service": _unit(
            "pero-worker's metrics for Prometheus", command("metrics", "--listen", "127.0.0.1:9150"), clients
        ),
    }


def _unit(description: str, command: str, clients: Path, more: str = "") -> str:
    credentials = "\n".join(f"LoadCredential={name}:{clients / name}" for name in _CREDENTIALS)
    return f"""\
[Unit]
Description={description}
Documentation=https://pypi.org/project/pero-worker/
After=network-online.target
Wants=network-online.target

[Service]
ExecStart={command}
{credentials}
Restart=always
RestartSec=5
{more}{_HARDENING}
[Install]
WantedBy=multi-user.target
"""
