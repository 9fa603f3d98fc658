"""What Postgres made of each statement, as it tells by itself: queries and plans as trees."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import attrs
import psycopg

# Braces enclose nodes, brackets lists; a backslash takes away the meaning of what follows.
_TOKEN = re.compile(r"[{}()]|(?:\\.|[^\s{}()\\])+", re.DOTALL)

COMMANDS = {2: "update", 4: "delete"}


@attrs.define
class Node:
    """A node of a tree.

    Attributes:
        kind: For example ``QUERY``.
        fields: Each with what follows its name: nodes, lists, and words.
    """

    kind: str
    fields: dict[str, list[Any]]

    def walk(self) -> Iterator[Node]:
        """Give this node and all below it."""
        yield self
        for value in self.fields.values():
            yield from _nodes(value)

    def word(self, name: str) -> str:
        """Return the word of a field."""
        (word,) = self.fields[name]
        return str(word)

    def child(self, name: str) -> Node | None:
        """Return the node of a field, None where there is none."""
        (value,) = self.fields[name]
        return value if isinstance(value, Node) else None


@contextmanager
def recorded(connection: psycopg.Connection, setting: str) -> Iterator[list[Node]]:
    """Collect the trees of all statements, those inside of functions too.

    Args:
        connection: Whose statements. It must be new: what a function has planned before is not
            planned again.
        setting: ``debug_print_parse`` or ``debug_print_plan``.

    Yields:
        The trees, as they come.
    """
    trees: list[Node] = []

    def note(diagnosis: psycopg.errors.Diagnostic) -> None:
        if diagnosis.message_detail and diagnosis.message_detail.startswith("{"):
            trees.append(parse(diagnosis.message_detail))

    connection.add_notice_handler(note)
    connection.execute("set debug_pretty_print = off")
    connection.execute("set client_min_messages = log")
    connection.execute(f"set {setting} = on")
    try:
        yield trees
    finally:
        connection.execute(f"set {setting} = off")
        connection.execute("reset client_min_messages")
        connection.remove_notice_handler(note)


def parse(text: str) -> Node:
    """Read a tree."""
    tokens = _TOKEN.findall(text)
    node, _ = _node(tokens, 1)
    return node


def _node(tokens: list[str], at: int) -> tuple[Node, int]:
    node = Node(tokens[at], {})
    at += 1
    values: list[Any] = []
    while tokens[at] != "}":
        token = tokens[at]
        if token.startswith(":"):
            values = node.fields.setdefault(token[1:], [])
            at += 1
        else:
            value, at = _value(tokens, at)
            values.append(value)
    return node, at + 1


def _value(tokens: list[str], at: int) -> tuple[Any, int]:
    if tokens[at] == "{":
        return _node(tokens, at + 1)
    if tokens[at] != "(":
        return tokens[at], at + 1
    values: list[Any] = []
    at += 1
    while tokens[at] != ")":
        value, at = _value(tokens, at)
        values.append(value)
    return values, at + 1


def _nodes(value: Any) -> Iterator[Node]:
    if isinstance(value, Node):
        yield from value.walk()
    elif isinstance(value, list):
        for each in value:
            yield from _nodes(each)


def careless(tree: Node) -> list[str]:
    """Return the commands of a tree that Supabase's safeupdate would refuse."""
    commands = []
    for node in tree.walk():
        if node.kind != "QUERY":
            continue
        command = COMMANDS.get(int(node.word("commandType")))
        jointree = node.child("jointree")
        if command and (jointree is None or jointree.child("quals") is None):
            commands.append(command)
    return commands
