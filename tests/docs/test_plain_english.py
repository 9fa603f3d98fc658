"""Documentation, docstrings, comments and messages use the words that the field uses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.docs.plain_english import INSTEAD, findings
from tests.docs.snippets import DOCS, ROOT

if TYPE_CHECKING:
    from pathlib import Path

SQL = next(path for path in (ROOT / "sql", ROOT / "supabase" / "migrations") if path.exists())
PLACES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    *(path for path in sorted(DOCS.iterdir()) if path.is_dir() or path.suffix in {".md", ".py"}),
    *(ROOT / name for name in ("meshhook", "meshhook_local", "pytest_meshhook")),
    *(ROOT / name for name in ("examples", "benchmarks")),
    SQL,
]

MARKDOWN = """\
A name in code is left alone: `whoever`.

```text
So is a block: anew.
```

Anew, for
ever and what becomes of it; for every job, besides, at the most recent one.
"""
PYTHON = '''\
"""Mend it."""
bury = "buried"  # what is
# told, for ever
error = (
    f"{bury} at the "
    "most {anew} of it"
)
'''
SQL_FILE = """\
-- it's whoever asks
comment on function anew is 'It isn''t mended, '
  'and nobody is told.';
"""


@pytest.mark.parametrize("place", PLACES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_reader_does_not_have_to_translate(place: Path) -> None:
    assert list(findings(place)) == []


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("page.md", MARKDOWN, {(7, "Anew"), (7, "for ever"), (8, "what becomes of")}),
        (
            "module.py",
            PYTHON,
            {(1, "Mend"), (2, "is told"), (3, "for ever"), (5, "at the most")},
        ),
        ("file.sql", SQL_FILE, {(1, "whoever"), (2, "mended"), (3, "is told")}),
    ],
)
def test_a_forbidden_phrase_is_found_where_it_stands(
    tmp_path: Path, name: str, text: str, found: set[tuple[int, str]]
) -> None:
    file = tmp_path / name
    file.write_text(text, encoding="utf-8")

    lines = list(findings(tmp_path))

    assert {line.partition(": write ")[0] for line in lines} == {
        f"{file}:{line}: {phrase!r}" for line, phrase in found
    }
    assert all(line.partition(": write ")[2] in INSTEAD.values() for line in lines)
