"""What the site adds to its pages, in addition to its plugins."""  # noqa: INP001 - no package

from __future__ import annotations

import json
import re
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
# `mkdocs` is a separate program: the repository is not on its path.
sys.path.append(str(ROOT))

from benchmarks import plots, report  # noqa: E402
from benchmarks.results import from_json  # noqa: E402

_LITERAL_COLONS = re.compile(r"::</p>(?=\s*<div class=\"[^\"]*highlight)")
_MEASURED = ROOT / "docs" / "benchmarks" / "results.json"
_RESULTS = from_json(json.loads(_MEASURED.read_text(encoding="utf-8"))["results"])


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Draw the pictures of the benchmarks, most of which are not in the repository.

    Args:
        files: The files of the site.
        config: The settings of the site.

    Returns:
        The files, with the pictures.
    """
    with tempfile.TemporaryDirectory() as folder:
        for result in _RESULTS:
            uri = f"benchmarks/{result.name}.svg"
            # A picture that `make bench` left in the folder may be older than the numbers.
            if (left := files.get_file_from_path(uri)) is not None:
                files.remove(left)
            drawn = plots.draw(result, Path(folder)).read_bytes()
            files.append(File.generated(config, uri, content=drawn))
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Show the pictures that the report of the benchmarks does not show by itself.

    Args:
        markdown: The text of a page.
        page: The page.

    Returns:
        The text to convert.
    """
    if page.file.src_uri == "benchmarks/README.md":
        for result in _RESULTS:
            picture, heading = report.picture(result), report.heading(result)
            if picture not in markdown:
                markdown = markdown.replace(f"{heading}\n", f"{heading}\n\n{picture}\n")
    return markdown


def on_page_content(html: str, **_: object) -> str:
    """Show the two colons that announce code in a docstring as one: Markdown needs none.

    Args:
        html: The content of a page.

    Returns:
        The content to show.
    """
    return _LITERAL_COLONS.sub(":</p>", html)
