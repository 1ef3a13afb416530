"""The documentation's site: `make docs`. Broken links and undocumented options end the build."""

from __future__ import annotations

import sys
from pathlib import Path

from sphinx.application import Sphinx

sys.path.insert(0, str(Path(__file__).parent))

from commands import write_reference

import pero_worker

project = "pero-worker"
author = "The pero-worker developers"
release = version = pero_worker.__version__
extensions = ["myst_parser"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = f"pero-worker {release}"
suppress_warnings = ["misc.highlighting_failure"]
nitpicky = True


def setup(app: Sphinx) -> None:
    app.connect("builder-inited", lambda app: write_reference(Path(app.srcdir) / "reference" / "commands.md"))
