"""Checkpoints of the epoch log as C2SP signed notes.

Knows nothing of epochs beyond "size". Sources: https://c2sp.org/signed-note and https://c2sp.org/tlog-checkpoint.
The note's text is three lines: the log's name, the size in decimal, the root in standard base64. One signature line of
type 0x01 (Ed25519 over the text) follows an empty line. We make and accept exactly that form, with one signature.
"""

import base64
import binascii
import re
from hashlib import sha256
from typing import NamedTuple

from noise.protocol.errors import DecodeError
from noise.protocol.json_text import base64url
from noise.protocol.signing import Signer, verify_raw

NOTE_BYTES_MAX = 1024

_NOTE = re.compile(
    rb"(?P<text>(?P<name>[!-*,-~]{1,128})\n(?P<size>0|[1-9][0-9]{0,19})\n(?P<root>[A-Za-z0-9+/]{43}=)\n)"
    rb"\n\xe2\x80\x94 (?P<signer>[!-*,-~]{1,128}) (?P<signature>[A-Za-z0-9+/]{91}=)\n"
)


class Checkpoint(NamedTuple):
    """A log's size, in leaves, and its root."""

    log_name: str
    size: int
    root: bytes


def log_name_of(origin: bytes) -> str:
    """The C2SP origin line of a provider's log: `noise-seq/` and the provider's id in base64url."""
    return "noise-seq/" + base64url(origin)


def key_id(log_name: str, key: bytes) -> bytes:
    """`SHA-256(name || 0x0A || 0x01 || key)[:4]`, the hint in a signature line."""
    return sha256(log_name.encode() + b"\n\x01" + key).digest()[:4]


def vkey(log_name: str, key: bytes) -> str:
    """The verifier key in C2SP's text form, for other people's tools."""
    encoded = base64.b64encode(b"\x01" + key).decode()
    return f"{log_name}+{key_id(log_name, key).hex()}+{encoded}"


def sign_checkpoint(signer: Signer, checkpoint: Checkpoint) -> bytes:
    """The signed note. Raises DecodeError for a name, size or root that no note in the accepted form has."""
    name, size, root = checkpoint
    text = f"{name}\n{size}\n{base64.b64encode(root).decode()}\n".encode()
    signature = key_id(name, signer.public_key) + signer.sign_raw(text)
    note = text + b"\n\xe2\x80\x94 " + name.encode() + b" " + base64.b64encode(signature) + b"\n"
    if parse_checkpoint(note)[0] != checkpoint:
        raise DecodeError("not a checkpoint")
    return note


def parse_checkpoint(note: bytes) -> tuple[Checkpoint, bytes, bytes, bytes]:
    """(checkpoint, signed text, key hint, signature) of a note in the one accepted form. Raises DecodeError."""
    match = _NOTE.fullmatch(note) if len(note) <= NOTE_BYTES_MAX else None
    if match is None or match["name"] != match["signer"]:
        raise DecodeError("not a signed checkpoint note")
    root = _strict_base64(match["root"])
    line = _strict_base64(match["signature"])
    size = int(match["size"])
    if size >= 2**63 or len(root) != 32 or len(line) != 68:
        raise DecodeError("not a signed checkpoint note")
    return Checkpoint(match["name"].decode("ascii"), size, root), match["text"], line[:4], line[4:]


def verify_checkpoint(note: bytes, log_name: str, key: bytes) -> Checkpoint:
    """The checkpoint in a note that the log's key signed. Raises DecodeError or SignatureError."""
    checkpoint, text, hint, signature = parse_checkpoint(note)
    if checkpoint.log_name != log_name or hint != key_id(log_name, key):
        raise DecodeError("checkpoint of another log")
    verify_raw(key, signature, text)
    return checkpoint


def _strict_base64(text: bytes) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except binascii.Error:
        raise DecodeError("not base64") from None
    if base64.b64encode(data) != text:
        raise DecodeError("base64 with loose trailing bits")
    return data
