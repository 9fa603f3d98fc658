"""Reading JSON of any shape: a malformed part is noted, and nothing raises."""

from __future__ import annotations

from datetime import MAXYEAR, MINYEAR, UTC, datetime
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping

_LARGEST = 2**63 - 1
_NAMES = {
    bool: "a boolean",
    int: "a number",
    float: "a number",
    str: "a text",
    list: "a list",
    dict: "an object",
    type(None): "null",
}


@attrs.frozen
class Reader:
    """Reads the members of a JSON object.

    Attributes:
        members: The object; empty if there is none.
        strange: The malformed parts, by their paths; shared with the readers of inner objects.
        path: The path of the object.
    """

    members: Mapping[str, Any]
    strange: dict[str, str]
    path: str = ""

    @classmethod
    def of(cls, value: object, strange: dict[str, str], path: str = "") -> Reader:
        """Make a reader of any value; one that is no object is read as an empty one."""
        if isinstance(value, dict):
            return cls(value, strange, path)
        strange[path] = f"is {kind_of(value)}, not an object"
        return cls({}, {}, path)  # its missing members are no findings of their own

    def text(self, name: str) -> str:
        """Read a text; empty if it is malformed."""
        return self._read(name, str, "a text") or ""

    def text_or_none(self, name: str) -> str | None:
        """Read a text that may be null."""
        return None if self._is_null(name) else self._read(name, str, "a text")

    def flag(self, name: str, *, default: bool = False) -> bool:
        """Read a boolean."""
        value = self._read(name, bool, "a boolean")
        return default if value is None else value

    def count(self, name: str) -> int:
        """Read a whole number from 0 on; 0 if it is malformed."""
        return int(self._number(name) or 0)

    def count_or_none(self, name: str) -> int | None:
        """Read a whole number that may be null."""
        number = self.number_or_none(name)
        return None if number is None else int(number)

    def number_or_none(self, name: str) -> float | None:
        """Read a number from 0 on that may be null."""
        return None if self._is_null(name) else self._number(name)

    def time(self, name: str) -> datetime | None:
        """Read a time; None if it is malformed."""
        value = self._read(name, str, "a time")
        if value is None:
            return None
        try:
            time = datetime.fromisoformat(value).astimezone(UTC)
        except (ValueError, OverflowError, OSError):
            time = None
        # In the first and last year that Python knows, another zone's time may be out of range.
        if time is None or not MINYEAR < time.year < MAXYEAR:
            self._note(name, "is no time")
            return None
        return time

    def time_or_none(self, name: str) -> datetime | None:
        """Read a time that may be null."""
        return None if self._is_null(name) else self.time(name)

    def texts(self, name: str) -> tuple[str, ...] | None:
        """Read a list of texts; None if it is malformed."""
        values = self._read(name, list, "a list")
        if values is None:
            return None
        if not all(isinstance(value, str) for value in values):
            self._note(name, "is a list of more than texts")
        return tuple(value for value in values if isinstance(value, str))

    def texts_by_name(self, name: str) -> dict[str, str]:
        """Read an object whose values are texts."""
        values = self._read(name, dict, "an object") or {}
        if not all(isinstance(value, str) for value in values.values()):
            self._note(name, "is an object of more than texts")
        return {key: value for key, value in values.items() if isinstance(value, str)}

    def object_or_none(self, name: str) -> Reader | None:
        """Read an object that may be null."""
        if self._is_null(name):
            return None
        value = self._read(name, dict, "an object")
        return None if value is None else Reader(value, self.strange, self._path(name))

    def objects(self, name: str) -> list[Reader]:
        """Read a list of objects; malformed ones are left out."""
        values = self._read(name, list, "a list") or []
        readers = []
        for position, value in enumerate(values):
            path = f"{self._path(name)}[{position}]"
            reader = Reader.of(value, self.strange, path)
            if path not in self.strange:
                readers.append(reader)
        return readers

    def objects_by_name(self, name: str) -> dict[str, Reader]:
        """Read an object whose values are objects."""
        values = self._read(name, dict, "an object") or {}
        return {
            key: Reader.of(value, self.strange, f"{self._path(name)}.{key}")
            for key, value in values.items()
        }

    def _number(self, name: str) -> float | None:
        value = self.members.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            if 0 <= value <= _LARGEST:  # which nan is not
                return value
            self._note(name, "is out of range")
        elif name in self.members:
            self._note(name, f"is {kind_of(value)}, not a number")
        else:
            self._note(name, "is missing")
        return None

    def _read(self, name: str, kind: type, called: str) -> Any:
        value = self.members.get(name)
        if isinstance(value, kind):
            return value
        missing = name not in self.members
        self._note(name, "is missing" if missing else f"is {kind_of(value)}, not {called}")
        return None

    def _is_null(self, name: str) -> bool:
        return name in self.members and self.members[name] is None

    def _note(self, name: str, what: str) -> None:
        self.strange[self._path(name)] = what

    def _path(self, name: str) -> str:
        return f"{self.path}.{name}" if self.path else name


def kind_of(value: object) -> str:
    """Return the name of a value's type in JSON."""
    return _NAMES.get(type(value), type(value).__name__)
