"""The packages that come with MeshHook: each is listed, and none has a licence nobody expected."""

from __future__ import annotations

import re
from email.message import Message
from importlib.metadata import PathDistribution
from pathlib import Path

import pytest

from tests.security import licences


def listed() -> dict[str, str]:
    """Return the licences on the page by the names of the packages."""
    return dict(re.findall(r"^\| ([\w.-]+) \| (.+) \|$", licences.PAGE.read_text(), re.MULTILINE))


def test_every_package_is_listed_with_its_licence() -> None:
    page = listed()

    found = {one.name: one.licence for one in licences.dependencies()}

    assert len(found) > 40
    assert {name: page.get(name) for name in found} == found


def test_no_package_is_listed_that_is_not_needed() -> None:
    needed = {name for extra in licences.EXTRAS for name in licences.needed("meshhook", extra)}

    assert set(listed()) - {"package"} - needed == set()


def test_no_licence_is_unexpected() -> None:
    unexpected = {
        one.name: one.licence
        for one in licences.dependencies()
        if not licences.parts_of(one.licence) <= licences.PERMISSIVE
    }

    assert unexpected == licences.EXPECTED


def test_what_asks_for_more_than_its_notice_comes_with_the_embedded_stack_alone() -> None:
    extras = {one.name: one.extra for one in licences.dependencies()}

    assert {name: extras[name] for name in licences.EXPECTED} == {
        "certifi": "",
        "orjson": "local",
        "psycopg": "local",
        "psycopg-binary": "local",
        "psycopg-pool": "local",
    }


@pytest.mark.parametrize(
    ("headers", "licence"),
    [
        ([("License-Expression", "GPL-3.0-or-later")], "GPL-3.0-or-later"),
        ([("Classifier", "License :: OSI Approved :: MIT License")], "MIT"),
        (
            [("Classifier", "License :: OSI Approved :: GNU General Public License v3 (GPLv3)")],
            "GNU General Public License v3 (GPLv3)",
        ),
        ([("License", "Apache License 2.0")], "Apache-2.0"),
        ([("License", "Ask my lawyer")], "Ask my lawyer"),
        ([("Classifier", "License :: OSI Approved"), ("License", "MIT")], "MIT"),
        ([], "not stated"),
    ],
)
def test_a_licence_is_read_wherever_it_stands(
    tmp_path: Path, headers: list[tuple[str, str]], licence: str
) -> None:
    metadata = Message()
    for name, value in [("Name", "package"), *headers]:
        metadata[name] = value
    (tmp_path / "METADATA").write_text(metadata.as_string())

    assert licences.licence_of(PathDistribution(tmp_path)) == licence


@pytest.mark.parametrize(
    ("licence", "is_permissive"),
    [
        ("MIT", True),
        ("Apache-2.0 OR BSD-3-Clause", True),
        ("MPL-2.0 AND (Apache-2.0 OR MIT)", False),
        ("GPL-3.0-or-later", False),
        ("AGPL-3.0-only OR MIT", False),
        ("GNU General Public License v3 (GPLv3)", False),
        ("not stated", False),
    ],
)
def test_what_is_permissive(licence: str, *, is_permissive: bool) -> None:
    assert (licences.parts_of(licence) <= licences.PERMISSIVE) is is_permissive
