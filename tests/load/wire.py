"""A WebSocket client reduced to bytes: the handshake, frames out, frames in.

Knows nothing of sockets, nor of what the payloads say. Source: RFC 6455. What a client sends must be masked; the key
may be any, and all zeros costs nothing to apply here, while the server unmasks as always.
"""

import base64
import hashlib
import os

from noise.protocol.frames import PUSH_PATH, SUBPROTOCOL_BINARY

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_ZERO_KEY = bytes(4)
OPCODE_BINARY = 0x2
OPCODE_CLOSE = 0x8


class WireError(Exception):
    """The server sent what no WebSocket server sends."""


def encode_upgrade(host: str) -> tuple[bytes, bytes]:
    """(request head, the `Sec-WebSocket-Accept` that must answer it)."""
    key = base64.b64encode(os.urandom(16))
    head = (
        f"GET {PUSH_PATH} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key.decode()}\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Protocol: {SUBPROTOCOL_BINARY}\r\n\r\n"
    ).encode("ascii")
    return head, base64.b64encode(hashlib.sha1(key + _GUID).digest())


def check_upgrade(head: bytes, accept: bytes) -> None:
    """Raises WireError unless `head`, up to its blank line, opens a WebSocket with our subprotocol."""
    status, *lines = head.rstrip(b"\r\n").split(b"\r\n")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
    wanted = {b"sec-websocket-accept": accept, b"sec-websocket-protocol": SUBPROTOCOL_BINARY.encode("ascii")}
    if not status.startswith(b"HTTP/1.1 101 ") or any(headers.get(name) != value for name, value in wanted.items()):
        raise WireError(f"the handshake was refused: {head!r}")


def encode_message(payload: bytes) -> bytes:
    """A final binary frame, masked with the zero key."""
    size = len(payload)
    if size < 126:
        header = bytes((0x80 | OPCODE_BINARY, 0x80 | size))
    elif size < 1 << 16:
        header = bytes((0x80 | OPCODE_BINARY, 0x80 | 126)) + size.to_bytes(2, "big")
    else:
        header = bytes((0x80 | OPCODE_BINARY, 0x80 | 127)) + size.to_bytes(8, "big")
    return header + _ZERO_KEY + payload


def take_messages(buffer: bytearray) -> tuple[list[bytes], int]:
    """Cut whole messages off a buffer: (their payloads, how many bytes the buffer needs before there is another).

    Raises WireError for whatever else a server may say: it closed, or sends what this client never asked for.
    """
    payloads: list[bytes] = []
    start, end = 0, len(buffer)
    needed = 2
    while end - start >= needed:
        size, header = buffer[start + 1], 2
        if size == 126:
            header = 4
        elif size == 127:
            header = 10
        if end - start < header:
            needed = header
            continue
        if header > 2:
            size = int.from_bytes(buffer[start + 2 : start + header], "big")
        if end - start < header + size:
            needed = header + size
            break
        payload = bytes(buffer[start + header : start + header + size])
        if buffer[start] != 0x80 | OPCODE_BINARY:
            raise WireError(_describe(buffer[start], payload))
        payloads.append(payload)
        start += header + size
        needed = 2
    del buffer[:start]
    return payloads, needed


def _describe(first_byte: int, payload: bytes) -> str:
    if first_byte & 0xF == OPCODE_CLOSE:
        return f"closed by the server: {int.from_bytes(payload[:2], 'big')} {payload[2:].decode('utf-8', 'replace')}"
    return f"an unexpected frame, first byte {first_byte:#x}"
