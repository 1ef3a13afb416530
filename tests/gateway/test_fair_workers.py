"""A key with ten pages beside one with more than a thousand, before real workers."""

from __future__ import annotations

import io
from pathlib import Path

from gateway.conftest import dummy_pipeline, json_lines, picture, roles_of, running
from PIL import Image

LARGE, SMALL = 1500, 10


def test_a_small_job_is_done_within_three_times_its_own_work(tmp_path: Path) -> None:
    book = io.BytesIO()
    sides = [Image.new("1", (8, 8)) for _ in range(LARGE)]
    sides[0].save(book, "TIFF", save_all=True, append_images=sides[1:])
    slow = dummy_pipeline(tmp_path / "slow", TIME_DIFF_MIN=0.05, TIME_DIFF_MAX=0.05)
    with running(tmp_path / "data", "--pipeline", str(slow), "--jobs", "1") as gateway:
        roles = roles_of(gateway)
        large = roles.user.create("book.tif")
        roles.user.upload(large, "book.tif", book.getvalue())
        names = [f"{number}.jpg" for number in range(SMALL)]
        small = roles.other.create(*names)
        for name in names:
            roles.other.upload(small, name, picture())
        assert roles.other.wait(small)["pages_failed"] == 0
        left = roles.user.job(large)["pages_open"]
        roles.user.data("PATCH", f"/jobs/{large}", expect="JOB_CANCELLED", json={"state": "cancelled"})
    lines = json_lines(gateway.log())
    finished = [
        (place, line["job"], line["worker_seconds"])
        for place, line in enumerate(lines)
        if line["message"] == "page finished"
    ]
    begun = max(place for place, line in enumerate(lines) if small in str(line.get("path")) and line["method"] == "PUT")
    ended = max(place for place, job, _ in finished if job == small)
    # The worker's time from the last upload to the job's end, and what the job's own pages took of it: shares are of
    # time, and on a busy machine a page may take twice as long as another. One page may be in hand at the start.
    between = [seconds for place, _, seconds in finished if begun < place < ended]
    own = [seconds for _, job, seconds in finished if job == small]
    assert len(own) == SMALL
    assert sum(between[1:]) <= 3 * sum(own)
    assert left > 0
