"""What the gateway's pages say and are made of, as far as no server is needed."""

from __future__ import annotations

import hashlib
import re
import string
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from pero_worker.gateway.sessions import make_token, read_token
from pero_worker.gateway.web.assets import FOLDER, address, assets
from pero_worker.gateway.web.lines import MAX_LINES, pairs, shown_lines, worst_first
from pero_worker.gateway.web.render import POLICY
from pero_worker.gateway.web.visit import own_path
from pero_worker.gateway.web.words import LANGUAGES, choose_language, words_of
from pero_worker.messages import ENGLISH, said
from pero_worker.page import Line, Page, Region, Word

HOME = Path(__file__).parents[2]
TEMPLATES = FOLDER.parent / "templates"
FORMS = {"en": {"one", "other"}, "de": {"one", "other"}, "cs": {"one", "few", "other"}}


def fields(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_catalogue_says_all_that_the_others_say(language: str) -> None:
    ours, model = words_of(language).texts, words_of("en").texts
    assert ours.keys() == model.keys()
    for key, text in ours.items():
        other = model[key]
        if isinstance(text, str):
            assert isinstance(other, str) and fields(text) == fields(other), key
            assert text.strip()
        else:
            assert set(text) == FORMS[language], key
            assert not isinstance(other, str)
            assert all(fields(form) == fields(other["other"]) for form in text.values()), key


@pytest.mark.parametrize("language", LANGUAGES)
def test_whatever_a_cluster_says_can_be_said_in_each_language(language: str) -> None:
    said = words_of(language).said
    assert said.keys() == ENGLISH.keys()
    for kind, text in said.items():
        model = ENGLISH[kind]
        forms, models = ([one] if isinstance(one, str) else list(one.values()) for one in (text, model))
        assert isinstance(text, str) or set(text) == FORMS[language], kind
        assert isinstance(text, str) == isinstance(model, str), kind
        assert all(fields(form) <= fields(models[-1]) | {"n"} and form.strip() for form in forms), kind
        # Commands are the same in every language, or they could not be typed.
        commands = {command for one in models for command in re.findall(r"pero-worker [a-z]+(?: [a-z]+)?", one)}
        assert all(command in form for form in forms for command in commands), kind


def test_what_is_quoted_stays_english_and_harmless() -> None:
    problem = said("not_loaded", reason="<b>no\x1b[31m</b> {stage}\u202e", stage="o'cr")
    told = words_of("cs").tell(problem)
    assert told == 'nedá se načíst: <span lang="en">&lt;b&gt;no\\x1b[31m&lt;/b&gt; {stage}\\u202e</span>'
    assert str(words_of("de").tell(problem.remedy)).endswith("stage rollback o&#39;cr")
    assert words_of("en").tell(problem) == "cannot be loaded: &lt;b&gt;no\\x1b[31m&lt;/b&gt; {stage}\\u202e"


def test_what_the_watchdog_said_is_said_in_czech() -> None:
    then = said("stage_then", stage="ocr", pages=said("pages", n=3), doing=said("done_in", seconds=12.4), load=4.25)
    assert words_of("cs").tell(then) == "ocr: 3 stránky, hotovo za 12 s, načtení 4,2 s"
    assert str(then) == "ocr: 3 pages, done in 12 s, 4.2 s to load"


def test_templates_and_modules_say_only_what_the_catalogues_know() -> None:
    known = words_of("en").texts
    used = set()
    for path in [*TEMPLATES.rglob("*.html"), *FOLDER.parent.glob("*.py")]:
        used |= set(
            re.findall(r"""(?:\bt|\bwords|texts)[(\[]\s*["']([a-z_]+\.[A-Za-z0-9_ ./]+)["']""", path.read_text("utf-8"))
        )
    assert len(used) > 80
    stems = {key for key in used if key.endswith("_")}
    assert used - stems <= known.keys()
    assert all(any(key.startswith(stem) for key in known) for stem in stems)


def test_languages_are_chosen_as_people_ask() -> None:
    assert choose_language("cs", "de") == "cs"
    assert choose_language("xx", "de-AT,de;q=0.9,en;q=0.8") == "de"
    assert choose_language(None, "fr, en;q=0.3, cs;q=0.7") == "cs"
    assert choose_language(None, "cs;q=0, *") == "en"
    assert choose_language(None, "de;q=nonsense" * 1000) == "de"
    assert choose_language(None, "") == "en"


def test_numbers_are_as_the_language_writes_them() -> None:
    assert [words_of(code).number(1234.5, 1) for code in ("en", "de", "cs")] == ["1,234.5", "1.234,5", "1\u00a0234,5"]
    assert words_of("cs")("page.line_count", n=3) == "3 řádky"
    assert words_of("en")("page.line_count", n=1) == "1 line"


@pytest.mark.parametrize("folder", [FOLDER / "vendor", HOME / "tests/gateway/vendor"], ids=["pages", "tests"])
def test_files_of_others_are_what_their_list_says(folder: Path) -> None:
    entries = tomllib.loads((folder / "SOURCES.toml").read_text("utf-8"))["file"]
    found = {path.name for path in folder.iterdir() if path.suffix in {".js", ".css"}}
    assert {entry["name"] for entry in entries} == found
    for entry in entries:
        assert hashlib.sha256((folder / entry["name"]).read_bytes()).hexdigest() == entry["sha256"], entry["name"]
        assert entry["version"] in entry["address"] and entry["address"].startswith("https://registry.npmjs.org/")
        assert entry["licence"] in {"0BSD", "MIT", "BSD-3-Clause", "MPL-2.0"}
        told = (HOME / "docs/licences.md").read_text("utf-8")
        assert entry["package"] in told or folder.parent.name == "gateway"


def test_nothing_is_loaded_from_elsewhere_and_nothing_is_inline() -> None:
    for path in TEMPLATES.rglob("*.html"):
        text = path.read_text("utf-8")
        assert not re.search(r"""(?:src|href|action)\s*=\s*["']\s*(?:https?:)?//""", text), path
        assert not re.search(r"""<style|\sstyle=|\son[a-z]+=|<script(?! src=)|javascript:|\|\s*safe""", text), path
    for name in assets():
        if name.endswith(".css"):
            text = assets()[name].content.decode()
            assert not re.search(r"@import|url\((?!['\"]?data:)", text), name
    assert "unsafe" not in POLICY and "default-src 'none'" in POLICY


def test_pages_weigh_little() -> None:
    """What a first visit to each page loads, compressed."""

    def weight(*names: str) -> int:
        return sum(
            len(assets()[name].packed)
            for name in ("pico.min.css", "app.css", "htmx.min.js", "htmx-sse.min.js", "app.js", "icon.svg", *names)
        )

    assert weight("new-job.js") < 60_000
    assert weight("openseadragon.min.js", "page.js") < 150_000
    assert weight("uPlot.iife.min.js", "uPlot.min.css", "cluster.js") < 80_000
    assert re.fullmatch(r"/web/assets/[0-9a-f]{12}/app\.js", address("app.js"))


def test_a_session_is_signed() -> None:
    token = make_token("key", "digest", 1000, "secret")
    key, ends, signature = read_token(token) or ("", 0, "")
    assert (key, ends) == ("key", 1000)
    others = [
        make_token("key", "digest", 1001, "secret"),
        make_token("key", "other", 1000, "secret"),
        make_token("key", "digest", 1000, "other"),
        make_token("yek", "digest", 1000, "secret"),
    ]
    assert signature not in " ".join(others)
    for text in ("", ".", "a.b.c", "key.1000", f"key.{'9' * 20}.x", "k" * 500, "key.١٠٠٠.x"):
        assert read_token(text) is None or read_token(text) != (key, ends, signature)


@pytest.mark.parametrize(
    "text",
    [
        "//evil.example",
        "https://evil.example/web/jobs",
        "/\\evil.example",
        "javascript:alert(1)",
        "/v1/jobs",
        "",
        "/web/jobs\r\nx: y",
    ],
)
def test_people_are_sent_to_our_pages_only(text: str) -> None:
    assert own_path(text) == "/web/jobs"
    assert own_path("/web/cluster?lang=cs") == "/web/cluster?lang=cs"


def line(name: str, top: float, text: str, confidence: float | None, left: float = 0, right: float = 100) -> Line:
    box = ((left, top), (right, top), (right, top + 10), (left, top + 10))
    return Line(id=name, baseline=box[2:], polygon=box, text=text, confidence=confidence)


def page_of(*lines: Line, size: int = 100) -> Page:
    return Page(name="p", width=size, height=size, regions=(Region(id="r", polygon=(), lines=lines),))


def test_the_worst_lines_come_first_and_those_of_which_nothing_is_known_last() -> None:
    lines = (line("a", 0, "a", 0.99), line("b", 20, "b", None), line("c", 40, "c", 0.4), line("d", 60, "d", 0.9))
    page = page_of(*lines)
    shown = worst_first(shown_lines(page))
    assert [one.number for one in shown] == [3, 4, 1, 2]
    assert [one.grade for one in shown] == ["unsure", "fair", "sure", "unknown"]
    assert shown[0].points == "0,40 100,40 100,50 0,50"


def test_doubtful_words_are_marked() -> None:
    words = (Word(text="sure", polygon=(), confidence=0.99), Word(text="doubt", polygon=(), confidence=0.3))
    one = Line(id="a", baseline=(), polygon=(), text="sure doubt", confidence=0.6, words=words)
    (shown,) = shown_lines(page_of(one))
    assert [(piece.text, piece.marked) for piece in shown.pieces] == [("sure", False), (" ", False), ("doubt", True)]
    (shown,) = shown_lines(page_of(replace(one, text="other text\u202e")))
    assert [piece.text for piece in shown.pieces] == ["other text\\u202e"]


def test_two_engines_lines_are_laid_side_by_side() -> None:
    left = page_of(line("a", 0, "the old house", 0.9), line("b", 30, "alone", 0.9))
    beside = line("y", 0, "cold house", 0.5, 100, 200), line("x", 2, "the", 0.8, 0, 90)
    right = page_of(*beside, line("z", 150, "below", 0.7, 0, 200), size=200)
    found, alone = pairs(left, right)
    texts = [(piece.text, piece.marked) for piece in found[0].right]
    assert texts == [("the", False), (" ", False), ("cold", True), (" ", False), ("house", False)]
    assert found[0].right_confidence == 0.5
    assert (found[1].right, alone) == ((), ["below"])


def test_a_page_of_very_many_lines_is_bounded() -> None:
    page = page_of(*(line(str(n), n * 3.0, "a a a a a a", 0.5) for n in range(MAX_LINES + 500)))
    found, alone = pairs(page, page)
    assert (len(shown_lines(page)), len(found), alone) == (MAX_LINES, MAX_LINES, [])
    high = page_of(line("h", 0, "x", 0.5), replace(line("t", 0, "y", 0.5), polygon=((0, 0), (9, 1e12), (0, 5))))
    assert len(pairs(high, high)[0]) == 2


def test_a_page_of_many_long_lines_is_compared_in_little_time() -> None:
    """Words beyond a bound are not compared one by one."""
    text = " ".join(f"w{number}" for number in range(5000))
    page = page_of(*(line(str(n), n * 20.0, text, 0.5) for n in range(20)), size=10_000)
    found, alone = pairs(page, page)
    assert len(found) == 20 and not alone
    assert all(len(pair.right) == 1 and not pair.right[0].marked for pair in found)
