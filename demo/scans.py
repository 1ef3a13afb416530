"""Takes the demo's real scans out of a source distribution that pip has fetched and checked."""

from __future__ import annotations

import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

MAX_BYTES = 4_000_000


@dataclass(frozen=True)
class Scan:
    """One file of the distribution's tests/resources, and whose it is (from the distribution's REUSE.toml)."""

    name: str
    about: str
    rights: str


_LINN = "(C) 1985 Forat Electronics; GFDL-1.2-or-later or CC-BY-SA-3.0"
SCANS = (
    Scan("linn.png", "printed leaflet, two columns", _LINN),
    Scan("skew.pdf", "the same leaflet, scanned askew", _LINN),
    Scan(
        "typewriter.png",
        "typewritten recipe, Dutch",
        "(C) 2005 Ellywa; GFDL-1.2-or-later or CC-BY-SA-1.0 or CC-BY-SA-2.0 or CC-BY-SA-2.5 or CC-BY-SA-3.0",
    ),
    Scan("c03-29.pdf", "book page of 1885 with a picture", "public domain"),
    Scan(
        "masks.pdf",
        "scanned printout, German",
        'contributors to the German Wikipedia article "Linux", as of 2016-08-24; CC-BY-SA-3.0',
    ),
)


def unpack(sdist: Path, target: Path, scans: tuple[Scan, ...] = SCANS) -> list[Path]:
    """Write the named scans, and SOURCES.txt about them, into `target`; return the scans' paths.

    Only regular files of at most MAX_BYTES are taken, each under its bare name. Raises ValueError where the
    archive lacks one or holds something else under that name.
    """
    target.mkdir(parents=True, exist_ok=True)
    written = []
    top = sdist.name.removesuffix(".tar.gz")
    with tarfile.open(sdist, "r:gz") as archive:
        for scan in scans:
            try:
                member = archive.getmember(f"{top}/tests/resources/{scan.name}")
            except KeyError:
                raise ValueError(f"{sdist.name} has no {scan.name}: fetch the pinned release again") from None
            stream = archive.extractfile(member) if member.isreg() and member.size <= MAX_BYTES else None
            if stream is None:
                raise ValueError(f"{scan.name} in {sdist.name} is no regular file of at most {MAX_BYTES} bytes")
            path = target / Path(scan.name).name
            path.write_bytes(stream.read())
            written.append(path)
    notes = [f"From {sdist.name}, tests/resources; licences from its REUSE.toml."]
    notes += [f"{scan.name}: {scan.about}. {scan.rights}." for scan in scans]
    (target.parent / "SOURCES.txt").write_text("\n".join(notes) + "\n", encoding="utf-8")
    return written


def main() -> None:
    """`scans.py SDIST_DIR TARGET`: unpack from the one source distribution in SDIST_DIR."""
    folder, target = (Path(argument) for argument in sys.argv[1:3])
    (sdist,) = folder.glob("*.tar.gz")
    for path in unpack(sdist, target):
        print(path)


if __name__ == "__main__":
    main()
