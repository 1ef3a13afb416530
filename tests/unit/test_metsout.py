"""Results entered into METS: nothing else changes."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from lxml import etree

from pero_worker.errors import UsageError
from pero_worker.formats.metsout import Agent, NewFile, NewGroup, check_group, enter, taken_ids
from pero_worker.inputs.mets.read import read_mets

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
XLINK = 'xmlns:xlink="http://www.w3.org/1999/xlink"'
FULL = f"""<?xml version="1.0" encoding="UTF-8"?>
<!-- a > b -->
<mets:mets xmlns:mets="http://www.loc.gov/METS/" {XLINK} LABEL='x > "y"'>
 <mets:metsHdr><mets:agent ROLE="CREATOR"><mets:name>ä</mets:name></mets:agent><mets:altRecordID>1</mets:altRecordID></mets:metsHdr>
 <mets:fileSec><mets:fileGrp USE="IMG"><mets:file ID="A"><mets:FLocat xlink:href="1.jpg"/></mets:file></mets:fileGrp></mets:fileSec>
 <mets:structMap TYPE="LOGICAL"><mets:div ID="L" TYPE="page"/></mets:structMap>
 <mets:structMap TYPE="PHYSICAL"><mets:div><mets:div TYPE="page" ID="P2" ORDER="2"/>
  <mets:div TYPE="page" ID="P1" ORDER="1"><mets:fptr FILEID="A"></mets:fptr><!-- here --></mets:div></mets:div></mets:structMap>
</mets:mets>
""".encode()
BARE = f"""<mets xmlns="http://www.loc.gov/METS/" {XLINK}><fileSec/><structMap TYPE="physical"><div TYPE="page"/></structMap></mets>""".encode()
PREFIXED = BARE.replace(b"<", b"<n:").replace(b"<n:/", b"</n:").replace(b"xmlns=", b"xmlns:n=")


def entered(data: bytes, *, use: str = "OCR", overwrite: bool = False, count: int = 9) -> bytes:
    pages = read_mets(data, "m").pages[:count]
    files = tuple(
        NewFile(id=f"{use}_{n}", href=f"{use}/{n} & ä.xml", mime="application/alto+xml", page=page.element)
        for n, page in enumerate(pages)
    )
    agent = Agent(name="pero-worker v1", notes=(("output-file-grp", use), ("parameter", '{"a": "<ß>"}')))
    return enter(data, [NewGroup(use=use, files=files)], agent, created=NOW, overwrite=overwrite)


@pytest.mark.parametrize("data", [FULL, BARE, PREFIXED])
def test_files_are_found_by_the_pages_they_belong_to(data: bytes) -> None:
    before = read_mets(data, "m")
    after = read_mets(entered(data), "m")
    new = {file.id: file for file in after.files if file.group == "OCR"}
    assert [page.files[-1] for page in after.pages] == [f"OCR_{n}" for n in range(len(before.pages))]
    assert [new[page.files[-1]].places for page in after.pages] == [
        (f"OCR/{n} & ä.xml",) for n in range(len(before.pages))
    ]
    assert [page.files[:-1] for page in after.pages] == [page.files for page in before.pages]
    agent = etree.fromstring(entered(data)).find(".//{*}metsHdr/{*}agent[@OTHERTYPE='SOFTWARE']")
    assert agent.findtext("{*}name") == "pero-worker v1"
    assert agent[-1].text == '{"a": "<ß>"}'


def test_all_that_was_there_stays_byte_for_byte() -> None:
    changed = entered(FULL)
    place = 0
    for byte in FULL:
        place = changed.index(byte, place) + 1
    for kept in (
        b"<!-- a > b -->",
        b"LABEL='x > \"y\"'",
        b"\xc3\xa4",
        b"<!-- here -->",
        b'<mets:structMap TYPE="LOGICAL"><mets:div ID="L" TYPE="page"/></mets:structMap>',
    ):
        assert kept in changed


@pytest.mark.parametrize("data", [FULL, BARE, PREFIXED])
def test_the_same_again_changes_nothing(data: bytes) -> None:
    once = entered(data)
    with pytest.raises(UsageError, match="OCR already: --overwrite"):
        entered(once)
    assert entered(once, overwrite=True) == once
    both = entered(once, use="OTHER")
    assert entered(both, use="OTHER", overwrite=True) == both
    fewer = entered(once, overwrite=True, count=1)
    assert sum(file.group == "OCR" for file in read_mets(fewer, "m").files) == 1
    assert fewer.count(b"pero-worker v1") == 1


def test_ids_that_others_have_are_known() -> None:
    assert taken_ids(FULL, []) >= {"A", "P1", "P2", "L"}
    assert "OCR_0" in taken_ids(entered(FULL), [])
    assert "OCR_0" not in taken_ids(entered(FULL), ["OCR"])


def test_what_cannot_be_changed_is_refused() -> None:
    without = b'<mets xmlns="http://www.loc.gov/METS/"><structMap TYPE="PHYSICAL"><div TYPE="page"/></structMap></mets>'
    with pytest.raises(UsageError, match="fileSec"):
        entered(without)
    wide = BARE.decode().encode("utf-16")
    with pytest.raises(UsageError, match="UTF-16"):
        entered(wide)
    for name in ("", "1A", "a b", "a/b", "../x", "ä"):
        with pytest.raises(UsageError, match="group"):
            check_group(name)


def test_a_large_mets_takes_a_second(tmp_path: Path) -> None:
    """It has 20,000 pages: nothing may look at all pages for each page."""
    files = "".join(f'<file ID="f{n}"><FLocat xlink:href="{n}.jpg"/></file>' for n in range(20_000))
    pages = "".join(f'<div TYPE="page" ID="P{n}"><fptr FILEID="f{n}"/></div>' for n in range(20_000))
    data = f'<mets xmlns="http://www.loc.gov/METS/" {XLINK}><fileSec><fileGrp USE="I">{files}</fileGrp></fileSec><structMap TYPE="PHYSICAL"><div>{pages}</div></structMap></mets>'.encode()
    assert len(read_mets(entered(data, count=20_000), "m").files) == 40_000
