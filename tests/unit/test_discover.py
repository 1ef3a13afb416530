from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pero_worker.errors import NoInputError
from pero_worker.inputs.discover import discover
from pero_worker.inputs.naming import page_name


def tree(folder: Path, *names: str) -> Path:
    """Makes files of the given relative names; their content does not matter here."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    return folder


def names(*paths: Path | str, exclude: Path | None = None) -> list[str]:
    return [document.name for document in discover([str(path) for path in paths], exclude=exclude).documents]


def collisions(found: Iterable[str]) -> list[str]:
    """Names that a file system which ignores case would mix up."""
    folded = [name.casefold() for name in found]
    return sorted({name for name in folded if folded.count(name) > 1})


def test_a_folder_gives_its_tree_in_natural_order(tmp_path: Path) -> None:
    tree(tmp_path, "page10.png", "page2.png", "Page1.png", "vol/b/2.jpg", "vol/b/10.jpg", "vol/a/1.tif")
    assert names(tmp_path) == ["Page1", "page2", "page10", "vol/a/1", "vol/b/2", "vol/b/10"]


def test_in_folders_only_images_count_and_the_rest_is_counted_as_skipped(tmp_path: Path) -> None:
    kinds = ["jpg", "jpeg", "jpe", "png", "tif", "tiff", "jp2", "j2k", "jpx", "j2c", "webp", "bmp", "gif"]
    kinds += ["pdf", "ppm", "pgm", "pbm", "pnm", "jfif", "mpo", "jpf", "avif", "heic", "HEIF"]
    tree(tmp_path, *(f"{kind}_file.{kind}" for kind in kinds), "UPPER.JPG", "notes.txt", "sub/Thumbs.db", "none")
    found = discover([str(tmp_path)])
    assert sorted(document.name for document in found.documents) == sorted(["UPPER", *(f"{k}_file" for k in kinds)])
    assert found.no_images.count == 3
    assert found.no_images.names == [str(tmp_path / name) for name in ("none", "notes.txt", "sub/Thumbs.db")]


def test_a_named_file_needs_no_known_extension(tmp_path: Path) -> None:
    tree(tmp_path, "scan.img", "none")
    found = discover([str(tmp_path / "scan.img"), str(tmp_path / "none")])
    assert [document.path.name for document in found.documents] == ["scan.img", "none"]
    assert found.no_images.count == 0


def test_hidden_files_and_folders_are_left_out_but_not_when_named(tmp_path: Path) -> None:
    tree(tmp_path, ".hidden.png", ".cache/x.png", "._a.jpg", "a.jpg")
    assert names(tmp_path) == ["a"]
    assert names(tmp_path / ".hidden.png") == [".hidden"]
    assert names(tmp_path / ".cache") == ["x"]


def test_documents_know_their_absolute_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(tmp_path, "in/a.png")
    monkeypatch.chdir(tmp_path)
    [document] = discover(["in"]).documents
    assert document.path == tmp_path / "in" / "a.png"


def test_names_are_relative_to_one_folder_else_to_what_is_common(tmp_path: Path) -> None:
    tree(tmp_path, "x/a/1.png", "x/b/1.png", "x/b/c/2.png")
    assert names(tmp_path / "x") == ["a/1", "b/1", "b/c/2"]
    assert names(tmp_path / "x" / "b") == ["1", "c/2"]
    assert names(tmp_path / "x" / "a", tmp_path / "x" / "b") == ["a/1", "b/1", "b/c/2"]
    assert names(tmp_path / "x" / "b" / "c" / "2.png") == ["2"]
    assert names(tmp_path / "x" / "b" / "1.png", tmp_path / "x" / "b" / "c" / "2.png") == ["1", "c/2"]


def test_extensions_stay_only_where_names_would_be_equal(tmp_path: Path) -> None:
    tree(tmp_path, "a.png", "A.jpg", "b.png", "c/a.png")
    assert sorted(names(tmp_path)) == ["A.jpg", "a.png", "b", "c/a"]


def test_only_a_known_extension_is_dropped(tmp_path: Path) -> None:
    tree(tmp_path, "vol.1.png", "report.2020.pdf")
    assert names(tmp_path) == ["report.2020", "vol.1"]


def test_a_full_name_may_itself_be_taken(tmp_path: Path) -> None:
    found = names(tree(tmp_path, "a.png", "a.jpg", "a.png.tif", "a.jpg.tif"))
    assert len(found) == 4
    assert collisions(found) == []


def test_pages_of_a_document_cannot_take_the_name_of_another(tmp_path: Path) -> None:
    found = names(tree(tmp_path, "a.tif", "a_0001.png", "A_0002.jpg", "b_0001.png"))
    pages = [page_name("a", index, 3) for index in range(3)]
    assert "a" in found
    assert "b_0001" in found
    assert collisions([*pages, *(name for name in found if name != "a")]) == []


def test_a_page_has_its_documents_name_and_its_number_where_there_are_more() -> None:
    assert page_name("x/a", 0, 1) == "x/a"
    assert [page_name("x/a", index, 12000) for index in (0, 9, 11999)] == ["x/a_0001", "x/a_0010", "x/a_12000"]


def test_the_same_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(tmp_path, "a.png", "sub/b.png")
    monkeypatch.chdir(tmp_path)
    assert names("a.png", "./a.png", tmp_path / "a.png", tmp_path, "*.png") == ["a", "sub/b"]


def test_the_same_file_by_way_of_its_parent_is_read_once(tmp_path: Path) -> None:
    tree(tmp_path, "a.png", "sub/b.png")
    assert names(tmp_path / "a.png", tmp_path / "sub" / ".." / "a.png") == ["a"]


def test_the_order_of_the_arguments_is_kept(tmp_path: Path) -> None:
    tree(tmp_path, "a.png", "b.png")
    assert names(tmp_path / "b.png", tmp_path / "a.png") == ["b", "a"]


def test_patterns_are_expanded_in_natural_order(tmp_path: Path) -> None:
    tree(tmp_path, "p10.png", "p9.png", "p1.txt", "sub/p3.png", "sub/deep/p4.png")
    assert names(tmp_path / "p*.png") == ["p9", "p10"]
    assert sorted(names(tmp_path / "**" / "*.png")) == ["p10", "p9", "sub/deep/p4", "sub/p3"]
    assert names(tmp_path / "s*") == ["p3", "deep/p4"]


def test_a_file_whose_name_looks_like_a_pattern_wins(tmp_path: Path) -> None:
    tree(tmp_path, "a[1].png", "a1.png")
    assert names(tmp_path / "a[1].png") == ["a[1]"]


def test_the_output_folder_is_never_input(tmp_path: Path) -> None:
    tree(tmp_path, "a.png", "out/a.png", "out/deep/b.png", "x/out/c.png")
    assert names(tmp_path, exclude=tmp_path / "out") == ["a", "x/out/c"]


def test_the_output_folder_is_known_by_any_of_its_paths(tmp_path: Path) -> None:
    tree(tmp_path, "a.png", "out/a.png")
    (tmp_path / "link").symlink_to(tmp_path / "out")
    assert names(tmp_path, exclude=tmp_path / "out" / ".." / "out") == ["a"]
    assert names(tmp_path, exclude=tmp_path / "link") == ["a"]


def test_patterns_do_not_reach_into_the_output_folder(tmp_path: Path) -> None:
    tree(tmp_path, "a.png", "out/a.png", "out/deep/b.png")
    assert names(tmp_path / "**" / "*.png", exclude=tmp_path / "out") == ["a"]


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    tree(tmp_path, "sub/a.png")
    (tmp_path / "sub" / "loop").symlink_to(tmp_path)
    assert names(tmp_path) == ["sub/a"]


def test_links_in_a_circle_end_for_patterns_too(tmp_path: Path) -> None:
    tree(tmp_path, "sub/a.png")
    (tmp_path / "sub" / "loop").symlink_to(tmp_path)
    assert len(names(tmp_path / "**" / "*.png")) == 1


def test_a_link_to_a_folder_may_be_named(tmp_path: Path) -> None:
    tree(tmp_path, "real/a.png")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert names(tmp_path / "link") == ["a"]


def test_names_that_are_not_utf8_are_replaced_and_stay_apart(tmp_path: Path) -> None:
    for raw in (b"\xff.png", b"\xfe.png", b"\xfd\xfd.png"):
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + raw)).write_bytes(b"x")
    found = names(tmp_path)
    assert len(found) == 3
    assert collisions(found) == []
    assert "�" in "".join(found)
    for name in found:
        name.encode()


@pytest.mark.parametrize("letter", ["x", "ž", "漢"])
def test_long_names_leave_room_for_page_number_and_suffix_and_stay_apart(tmp_path: Path, letter: str) -> None:
    long = letter * (250 // len(letter.encode()))
    found = names(tree(tmp_path, f"{long}.png", f"{long[:-1]}y.png", f"{long}/1.png"))
    assert len(found) == 3
    assert collisions(found) == []
    for name in found:
        component = name.rpartition("/")[2]
        assert len((page_name(component, 9, 20) + ".page.xml").encode()) <= 255


def test_odd_names_are_kept(tmp_path: Path) -> None:
    odd = ["name with spaces & ünïcödé, 100%", "-rf", "quote'\"$(id)", "new\nline", "~", "x" * 200]
    assert sorted(names(tree(tmp_path, *(f"{name}.png" for name in odd)))) == sorted(odd)


def test_names_never_climb_out_of_the_output_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(tmp_path, "a.png", "in/b.png", "in/..c.png")
    monkeypatch.chdir(tmp_path / "in")
    for found in (names(".."), names("../a.png"), names("../a.png", "b.png"), names("..c.png")):
        assert found
        for name in found:
            assert not name.startswith("/")
            assert not {"", ".", ".."} & set(name.split("/"))


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("missing.png", "missing.png does not exist"),
        ("*.png", "nothing matches the pattern"),
        ("dangling", "dangling is a link"),
        ("empty", "no images or PDFs in .*empty"),
        ("texts", "no images or PDFs in .*texts"),
        ("x" * 5000, "does not exist"),
        ("nul\0", "does not exist"),
    ],
)
def test_nothing_found_names_what_was_asked_for(tmp_path: Path, argument: str, words: str) -> None:
    tree(tmp_path, "texts/a.txt")
    (tmp_path / "empty").mkdir()
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    with pytest.raises(NoInputError, match=words):
        discover([f"{tmp_path}/{argument}"])


def test_an_empty_argument_does_not_mean_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tree(tmp_path, "a.png"))
    with pytest.raises(NoInputError, match="empty"):
        discover([""])


def test_one_missing_path_among_good_ones_is_not_passed_over(tmp_path: Path) -> None:
    tree(tmp_path, "a.png")
    with pytest.raises(NoInputError, match=r"b\.png"):
        discover([str(tmp_path / "a.png"), str(tmp_path / "b.png")])


_STEMS = st.sampled_from(["a", "A", "a.png", "a_0001", "ß", "ss", "ž" * 125, "x" * 240])
_ENDS = st.sampled_from([".png", ".PNG", ".jpg", ".tif", ".pdf"])


@given(st.lists(st.tuples(_STEMS, _ENDS), min_size=1, max_size=12, unique=True))
def test_names_are_unique_whatever_the_files_are_called(
    tmp_path_factory: pytest.TempPathFactory, files: list[tuple[str, str]]
) -> None:
    folder = tree(tmp_path_factory.mktemp("any"), *(stem + end for stem, end in files))
    found = names(folder)
    assert len(found) == len(files)
    assert collisions(found) == []
    assert found == names(folder)


def test_the_output_folder_among_other_arguments_is_left_out_but_may_be_named_alone(tmp_path: Path) -> None:
    for name in ("a.png", "out/b.pdf"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    arguments = [str(path) for path in sorted(tmp_path.iterdir())]
    out = tmp_path / "out"
    assert [document.name for document in discover(arguments, exclude=out).documents] == ["a"]
    assert [document.name for document in discover([str(out)], exclude=out).documents] == ["b.pdf"]


@pytest.mark.parametrize("folder", ["a.txt", "A.PAGE.XML", "a_0001.txt", "a.b.c"])
def test_a_result_cannot_have_the_name_of_a_folder(tmp_path: Path, folder: str) -> None:
    found = names(tree(tmp_path, "a.png", f"{folder}/b.png"))
    assert found == ["a.png", f"{folder}/b"]


def test_a_full_name_may_be_that_of_a_folder_too(tmp_path: Path) -> None:
    assert names(tree(tmp_path, "a.png", "a.txt/b.png", "a.png.txt/c.png"))[0] == "a.png_"


def test_a_pdf_read_in_place_keeps_its_name_to_itself(tmp_path: Path) -> None:
    tree(tmp_path, "d/a.pdf", "d/sub/b.PDF", "d/c.png")
    assert names(tmp_path / "d", exclude=tmp_path / "d") == ["a.pdf", "c", "sub/b.PDF"]
    (tmp_path / "link").symlink_to(tmp_path / "d")
    assert names(tmp_path / "d", exclude=tmp_path / "link") == ["a.pdf", "c", "sub/b.PDF"]
    assert names(tmp_path / "d" / "a.pdf", exclude=tmp_path / "d") == ["a.pdf"]
    assert names(tmp_path / "d", exclude=tmp_path / "other") == ["a", "c", "sub/b"]


def test_results_of_earlier_runs_are_no_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(tmp_path, "d/a.png", "d/a.pdf", "d/b.pdf", "d/.pero-worker/lock", "d/report.jsonl")
    asked = []

    def results_of(folder: Path) -> set[Path]:
        asked.append(folder)
        return {folder / "a.pdf", folder / "report.jsonl"}

    def found(*paths: str, exclude: Path | None = None) -> list[str]:
        return [d.path.name for d in discover(paths, exclude=exclude, results_of=results_of).documents]

    monkeypatch.chdir(tmp_path / "d")
    assert found(".", exclude=Path()) == ["a.png", "b.pdf"]
    assert found("a.pdf", "a.png", "b.pdf", exclude=Path()) == ["a.png", "b.pdf"]  # As a shell expands '*'.
    assert found("*.pdf") == ["b.pdf"]
    assert found(str(tmp_path)) == ["a.png", "b.pdf"]
    assert found("a.pdf") == ["a.pdf"]
    with pytest.raises(NoInputError, match="results of earlier runs"):
        found("a.pdf", exclude=Path())
    assert asked == [tmp_path / "d"] * 5
    assert discover(["."], results_of=results_of).no_images.count == 0


def test_links_and_folders_that_cannot_be_read_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(tmp_path, "d/a.png", "d/closed/b.png", "elsewhere/c.png")
    (tmp_path / "d" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "d" / "gone.png").symlink_to(tmp_path / "nothing.png")
    scandir = os.scandir

    def refusing(path: str) -> object:
        # The tests may run as root, who can read everything.
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    found = discover([str(tmp_path / "d")])
    assert [document.name for document in found.documents] == ["a"]
    assert sorted(found.links.names) == [str(tmp_path / "d" / "gone.png"), str(tmp_path / "d" / "link")]
    assert found.unreadable.names == [f"{tmp_path / 'd' / 'closed'}: Permission denied"]
    with pytest.raises(NoInputError, match="closed: Permission denied"):
        discover([str(tmp_path / "d" / "closed")])


def test_of_what_is_passed_over_only_some_names_are_kept(tmp_path: Path) -> None:
    tree(tmp_path, "a.png", *(f"{number}.txt" for number in range(100)))
    found = discover([str(tmp_path)])
    assert (found.no_images.count, len(found.no_images.names)) == (100, 20)
