"""HTTP/1.1 as it goes over a TCP connection: whole messages, byte for byte."""

from __future__ import annotations

import errno
import json
import socket
import struct
from typing import Any

import anyio
import attrs

# With this a close sends a reset, and what was not sent yet is thrown away.
_LINGER_ZERO = struct.pack("ii", 1, 0)
_CHUNK = 65536
_END_OF_HEAD = b"\r\n\r\n"


@attrs.frozen
class Message:
    """A request or an answer."""

    head: bytes
    body: bytes = attrs.field(repr=False)

    @property
    def raw(self) -> bytes:
        """The message as it came."""
        return self.head + self.body

    @property
    def half(self) -> bytes:
        """The message, cut off in the middle of its body."""
        return self.head + self.body[: len(self.body) // 2]

    @property
    def function(self) -> str:
        """The function that a request calls, or the view that it reads."""
        path = self.head.split(b" ", 2)[1].partition(b"?")[0]
        return path.rpartition(b"/")[2].decode()

    @property
    def status(self) -> int:
        """The status of an answer."""
        return int(self.head.split(b" ", 2)[1])

    @property
    def data(self) -> Any:
        """The JSON of the body; None for an empty one."""
        return json.loads(self.body) if self.body else None


class Wire:
    """One end of a TCP connection.

    It stands on a bare socket, because only a socket that nobody else has a hand in can be closed
    with a reset and nothing before it.

    Args:
        connected: The socket.
    """

    def __init__(self, connected: socket.socket) -> None:
        connected.setblocking(False)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = connected
        self._pending = b""
        self.is_open = True

    async def read_message(self) -> Message | None:
        """Read a message; None if the other end has closed."""
        while _END_OF_HEAD not in self._pending:
            if not await self._read_more():
                return None
        head, _, rest = self._pending.partition(_END_OF_HEAD)
        length = _content_length(head)
        while len(rest) < length:
            if not await self._read_more():
                return None
            rest = self._pending[len(head) + len(_END_OF_HEAD) :]
        self._pending = rest[length:]
        return Message(head + _END_OF_HEAD, rest[:length])

    async def read_some(self) -> bytes:
        """Read what has come; nothing if the other end has closed."""
        self._check_open()
        await anyio.wait_readable(self._socket)
        return self._socket.recv(_CHUNK)

    async def wait_closed(self) -> None:
        """Wait until the other end closes, whatever it sends before."""
        while await self.read_some():
            pass

    async def send(self, data: bytes) -> None:
        """Send everything."""
        while data:
            self._check_open()
            await anyio.wait_writable(self._socket)
            data = data[self._socket.send(data) :]

    def close(self) -> None:
        """Close cleanly: the other end reads what was sent, and then the end."""
        if self.is_open:
            self.is_open = False
            anyio.notify_closing(self._socket)
            self._socket.close()

    def reset(self) -> None:
        """Close with a reset."""
        if self.is_open:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
            self.close()

    def _check_open(self) -> None:
        if not self.is_open:  # Closed by somebody else, between two steps.
            raise anyio.ClosedResourceError

    async def _read_more(self) -> bool:
        data = await self.read_some()
        self._pending += data
        return bool(data)


async def connect(address: tuple[str, int]) -> Wire:
    """Connect to a port.

    Args:
        address: Host and port.

    Raises:
        OSError: Nothing listens there.
    """
    connecting = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    connecting.setblocking(False)
    try:
        if connecting.connect_ex(address) == errno.EINPROGRESS:
            await anyio.wait_writable(connecting)
        connecting.getpeername()  # Raises if there is no connection.
    except BaseException:
        connecting.close()
        raise
    return Wire(connecting)


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            return int(value)
    return 0
