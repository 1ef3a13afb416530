"""`make mutants`: does a unit test notice when a line of the most dangerous modules is wrong?

    python tests/mutants.py [MODULE...]       (as src/pero_worker/models/unpack.py; none: all of them)

mutmut changes the module in a copy of the project, one place at a time, and runs the module's tests. A mutant that only
changes the words of a message is counted apart: tests look for the words that matter, not for all.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

HOME = Path(__file__).parents[1]
PLACE = HOME / "build" / "mutants"
MODULES = {
    "jobs/outputs.py": ("test_output_folder", "test_report_outputs", "test_confined", "test_result_places"),
    "worker/holding.py": ("test_worker",),
    "models/unpack.py": ("test_unpack", "test_unpack_pipelines"),
    "watchdog/policy.py": ("test_policy", "test_policy_reasons"),
    "watchdog/board.py": ("test_policy", "test_simulate"),
    "worker/steps.py": ("test_worker",),
    "worker/loop.py": ("test_worker",),
    "cluster/pages/requestfolders.py": ("test_layouts", "test_result_places"),
    "cluster/pages/resulttree.py": ("test_layouts", "test_result_places"),
    "jobs/report.py": ("test_report_outputs", "test_run"),
}
"""Modules, the most dangerous first, and the files in tests/unit that test them."""
_CONFIG = """
[tool.mutmut]
source_paths = ["src"]
only_mutate = ["src/pero_worker/{module}"]
pytest_add_cli_args_test_selection = [{tests}]
"""


def mutate(module: str, tests: tuple[str, ...]) -> tuple[Counter[str], list[str]]:
    """What became of the mutants, and the survivors that change more than words, as differences."""
    place = PLACE / module.replace("/", "-").removesuffix(".py")
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    for name in ("src", "tests"):
        shutil.copytree(HOME / name, place / name, ignore=shutil.ignore_patterns("__pycache__"))
    files = ", ".join(f'"tests/unit/{name}.py"' for name in tests)
    (place / "pyproject.toml").write_text(
        (HOME / "pyproject.toml").read_text() + _CONFIG.format(module=module, tests=files)
    )
    command = [sys.executable, "-m", "mutmut"]
    done = subprocess.run(
        [*command, "run", "--max-children", "2"], cwd=place, check=False, capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(
            f"{module}: the tests fail without any mutant, or mutmut does:\n{done.stdout[-2000:]}{done.stderr[-500:]}"
        )
    listed = subprocess.run(
        [*command, "results", "--all", "true"], cwd=place, check=True, capture_output=True, text=True
    )
    found: Counter[str] = Counter()
    survivors = []
    for name, fate in re.findall(r"^\s+(\S+): (.+)$", listed.stdout, re.MULTILINE):
        if fate != "survived":
            found[fate] += 1
            continue
        shown = subprocess.run([*command, "show", name], cwd=place, check=True, capture_output=True, text=True).stdout
        if only_words(shown):
            found["survived in words"] += 1
        else:
            found["survived"] += 1
            survivors.append(f"{name}\n{shown}")
    return found, survivors


def only_words(difference: str) -> bool:
    """Whether nothing differs but the text of a sentence (a literal with spaces in it), or what a log is told."""
    changed = [line for line in difference.splitlines() if line[:1] in {"-", "+"} and line[:3] not in {"---", "+++"}]
    if all("logger." in line for line in changed):
        return True
    before, after = (
        "\n".join(line[1:] for line in difference.splitlines() if line.startswith(sign) and line[1:3] != sign * 2)
        for sign in "-+"
    )
    words = re.compile(r"""f?(?P<mark>["'])(?P<text>(?:(?!(?P=mark)).)*)(?P=mark)""")
    same = words.sub('""', before) == words.sub('""', after)
    return same and any(" " in one["text"] for one in words.finditer(before))


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("modules", nargs="*")
    given = arguments.parse_args()
    wanted = {name.partition("pero_worker/")[2] or name for name in given.modules} or set(MODULES)
    if unknown := wanted - set(MODULES):
        sys.exit(f"not among the modules: {', '.join(sorted(unknown))}")
    print("| module | mutants | killed | survived in words | survived | killed, words left out |")
    print("| --- | --- | --- | --- | --- | --- |", flush=True)
    for module, tests in MODULES.items():
        if module not in wanted:
            continue
        found, survivors = mutate(module, tests)
        killed = sum(found[fate] for fate in ("killed", "timeout", "suspicious", "segfault"))
        words = found["survived in words"]
        alive = found.total() - killed - words
        score = killed / max(killed + alive, 1)
        print(f"| `{module}` | {found.total()} | {killed} | {words} | {alive} | {score:.0%} |", flush=True)
        (PLACE / f"{module.replace('/', '-')}.survivors").write_text("\n".join(survivors))
    print(f"\nThe survivors are in {PLACE}/*.survivors", flush=True)


if __name__ == "__main__":
    main()
