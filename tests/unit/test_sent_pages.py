"""What a job remembers of the pages it has sent."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from pero_worker.cluster.pages.publish import SentPages

IDS = [f"{number:032x}" for number in (7, 3, 2**127, 12)]


def test_ids_of_earlier_runs_are_known(tmp_path: Path) -> None:
    file = tmp_path / "jobs" / "box7"
    with closing(SentPages(file)) as sent:
        assert IDS[0] not in sent
        for page_id in IDS[:3]:
            sent.add(page_id)
    with closing(SentPages(file)) as sent:
        assert [page_id in sent for page_id in IDS] == [True, True, True, False]
        sent.add(IDS[3])
    with closing(SentPages(file)) as sent:
        assert all(page_id in sent for page_id in IDS)
    assert file.read_text().split() == IDS


def test_a_torn_line_is_a_page_to_send_again(tmp_path: Path) -> None:
    file = tmp_path / "box7"
    file.write_text(f"{IDS[0]}\n{IDS[1][:20]}")
    with closing(SentPages(file)) as sent:
        assert IDS[0] in sent
        assert IDS[1] not in sent
        sent.add(IDS[1])
    with closing(SentPages(file)) as sent:
        assert IDS[1] in sent
