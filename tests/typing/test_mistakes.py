"""A strict type checker finds the mistakes that it can find, and nothing in what is right."""

from __future__ import annotations

import re
from pathlib import Path

from mypy import api

CONFIG = Path(__file__).parents[2] / "pyproject.toml"
PROGRAM = Path(__file__).with_name("mistakes.py")
MARK = "  # type: ignore"


def test_each_marked_line_is_a_mistake_and_no_other_line_is(tmp_path: Path) -> None:
    lines = PROGRAM.read_text(encoding="utf-8").splitlines()
    bare = tmp_path / "bare.py"
    bare.write_text("\n".join(line.partition(MARK)[0] for line in lines), encoding="utf-8")

    told, trouble, _ = api.run(["--config-file", str(CONFIG), str(bare)])

    found = {int(number) for number in re.findall(r":(\d+): error: ", told)}
    assert found == {number for number, line in enumerate(lines, 1) if MARK in line}
    assert 'Extra key "metdata" for TypedDict "JobData"' in told
    assert '"JobMessage" has no attribute "attemtp"; maybe "attempt"?' in told
    assert not trouble
