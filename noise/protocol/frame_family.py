"""Frames of one conversation: a u8 type, then the structure that it stands for, and nothing after it.

Knows nothing of what any frame means, or of which may come when: whoever parses says so.
"""

from collections.abc import Collection, Mapping
from typing import Generic, NamedTuple, TypeVar

from noise.protocol.encoding import Codec, Reader, struct_codec
from noise.protocol.errors import DecodeError

F = TypeVar("F", bound=NamedTuple)


class FrameFamily(Generic[F]):
    """`types`: number and structure of each frame, by name. `noun`: what a person calls one of them."""

    __slots__ = ("_by_number", "_bytes_max", "_noun", "codecs", "prefixes")

    def __init__(self, types: Mapping[str, tuple[int, type[F]]], *, bytes_max: int, noun: str) -> None:
        self.codecs: dict[type[F], Codec[F]] = {cls: struct_codec(cls) for _, cls in types.values()}
        self.prefixes = {cls: bytes([number]) for number, cls in types.values()}
        self._by_number = dict(types.values())
        self._bytes_max = bytes_max
        self._noun = noun

    def encode(self, frame: F) -> bytes:
        """`u8 type || structure`."""
        return self.prefixes[type(frame)] + self.codecs[type(frame)].encode(frame)

    def parse(self, data: bytes, may_come: Collection[type[F]]) -> F:
        """The exact inverse of `encode`. Raises DecodeError.

        Of a type that is not among `may_come` only the type is read: content out of turn costs nothing.
        """
        if len(data) > self._bytes_max:
            raise DecodeError(f"a {self._noun} has at most {self._bytes_max} bytes", code="frame-too-large")
        reader = Reader(data)
        frame = self.codec_in_turn(self._by_number.get(reader.take(1)[0]), may_come).read(reader)
        if reader.remaining():
            raise DecodeError(f"bytes after the end of a {self._noun}")
        return frame

    def codec_in_turn(self, cls: type[F] | None, may_come: Collection[type[F]]) -> Codec[F]:
        """The codec of a frame that may come now; `cls` None: there is no such type. Raises DecodeError."""
        if cls is None:
            raise DecodeError(f"unknown {self._noun} type")
        if cls not in may_come:
            raise DecodeError(f"{cls.__name__} may not come now", code="out-of-turn")
        return self.codecs[cls]
