"""One canonical binary encoding, and its readable JSON twin, from one declaration per structure.

Knows nothing of what the structures mean. A structure is a `NamedTuple` whose annotations say the bytes:

    class Seal(NamedTuple):
        owner: Bytes32
        count: U32

    SEAL = struct_codec(Seal)

Integers are big-endian and of fixed width, `opaque[n]` is raw, vectors carry a u16 or u32 length, lists a u32 count.
A decoder is total: it raises `DecodeError` and nothing else, consumes its whole input,
and checks counts against the bytes that remain before it allocates. Every codec is injective, so whatever decodes
re-encodes to the same bytes.

In JSON, u64 are decimal strings and bytes are unpadded base64url: see `noise.protocol.json_text`.
"""

import struct
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated, Any, Generic, NamedTuple, TypeVar, get_args, get_type_hints

from noise.protocol.errors import DecodeError
from noise.protocol.json_text import Json, base64url, parse_base64url, parse_decimal

T = TypeVar("T")
T_NT = TypeVar("T_NT", bound=NamedTuple)


class Reader:
    """A position in bytes that are being decoded."""

    __slots__ = ("data", "pos")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.pos = 0

    def take(self, size: int) -> bytes:
        end = self.pos + size
        if end > len(self.data):
            raise DecodeError("input ends too early")
        chunk = self.data[self.pos : end]
        self.pos = end
        return chunk

    def remaining(self) -> int:
        return len(self.data) - self.pos


class Codec(ABC, Generic[T]):
    """A bijection between values of T and their encodings. `min_size` is the length of the shortest one, in bytes."""

    min_size: int
    format: str | None = None
    """The `struct` format of a fixed-width encoding that `struct` can read and write directly, else None."""

    @abstractmethod
    def write(self, out: list[bytes], value: T) -> None: ...

    @abstractmethod
    def read(self, reader: Reader) -> T: ...

    @abstractmethod
    def to_json(self, value: T) -> Json: ...

    @abstractmethod
    def from_json(self, value: Json) -> T: ...

    def encode(self, value: T) -> bytes:
        out: list[bytes] = []
        self.write(out, value)
        return b"".join(out)

    def decode(self, data: bytes) -> T:
        """The value whose encoding is exactly `data`. Raises DecodeError."""
        reader = Reader(data)
        value = self.read(reader)
        if reader.remaining():
            raise DecodeError(f"{reader.remaining()} bytes after the end")
        return value


class _UInt(Codec[int]):
    def __init__(self, size: int) -> None:
        self.min_size = size
        self.format = {1: "B", 2: "H", 4: "I", 8: "Q"}[size]
        self._as_text = size == 8
        self._limit = 1 << (8 * size)

    def write(self, out: list[bytes], value: int) -> None:
        out.append(value.to_bytes(self.min_size, "big"))

    def read(self, reader: Reader) -> int:
        return int.from_bytes(reader.take(self.min_size), "big")

    def to_json(self, value: int) -> Json:
        return str(value) if self._as_text else value

    def from_json(self, value: Json) -> int:
        number = parse_decimal(value) if self._as_text else value
        if type(number) is not int or not 0 <= number < self._limit:
            raise DecodeError(f"not an unsigned integer of {8 * self.min_size} bits")
        return number


class _Opaque(Codec[bytes]):
    def __init__(self, size: int) -> None:
        self.min_size = size
        self.format = f"{size}s"

    def write(self, out: list[bytes], value: bytes) -> None:
        if len(value) != self.min_size:
            raise DecodeError(f"needs {self.min_size} bytes, has {len(value)}")
        out.append(value)

    def read(self, reader: Reader) -> bytes:
        return reader.take(self.min_size)

    def to_json(self, value: bytes) -> Json:
        return base64url(value)

    def from_json(self, value: Json) -> bytes:
        data = parse_base64url(value)
        if len(data) != self.min_size:
            raise DecodeError(f"needs {self.min_size} bytes, has {len(data)}")
        return data


class _Vec(Codec[bytes]):
    def __init__(self, length_size: int) -> None:
        self.min_size = length_size
        self._limit = 1 << (8 * length_size)

    def write(self, out: list[bytes], value: bytes) -> None:
        out.append(len(self.check_length(value)).to_bytes(self.min_size, "big"))
        out.append(value)

    def read(self, reader: Reader) -> bytes:
        return reader.take(int.from_bytes(reader.take(self.min_size), "big"))

    def to_json(self, value: bytes) -> Json:
        return base64url(value)

    def from_json(self, value: Json) -> bytes:
        return self.check_length(parse_base64url(value))

    def check_length(self, data: bytes) -> bytes:
        if len(data) >= self._limit:
            raise DecodeError("vector too long")
        return data


class _Text(Codec[str]):
    min_size = 2

    def write(self, out: list[bytes], value: str) -> None:
        _VEC16.write(out, _utf8(value))

    def read(self, reader: Reader) -> str:
        try:
            return _VEC16.read(reader).decode("utf-8")
        except UnicodeDecodeError:
            raise DecodeError("text is not UTF-8") from None

    def to_json(self, value: str) -> Json:
        return value

    def from_json(self, value: Json) -> str:
        if not isinstance(value, str) or len(_utf8(value)) > 0xFFFF:
            raise DecodeError("not a text of at most 65535 bytes")
        return value


def _utf8(text: str) -> bytes:
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        raise DecodeError("text holds a lone surrogate") from None


_VEC16 = _Vec(2)


_COUNT_MAX = 2**32 - 1


class _List(Codec[tuple[T, ...]]):
    min_size = 4

    def __init__(self, item: Codec[T], count_max: int) -> None:
        self._item = item
        self._count_max = count_max
        self._fixed = struct.Struct(">" + item.format) if item.format is not None else None
        rows_of_numbers = isinstance(item, StructCodec) and item.format is not None and "s" not in item.format
        self._numbers = self._fixed if rows_of_numbers else None  # struct would pad or cut opaque fields silently

    def write(self, out: list[bytes], value: tuple[T, ...]) -> None:
        out.append(len(value).to_bytes(4, "big"))
        if self._numbers is not None:
            pack: Callable[..., bytes] = self._numbers.pack
            rows: Sequence[Any] = value
            out.append(b"".join([pack(*row) for row in rows]))
            return
        write = self._item.write
        for item in value:
            write(out, item)

    def read(self, reader: Reader) -> tuple[T, ...]:
        count = int.from_bytes(reader.take(4), "big")
        if count > self._count_max or count * max(self._item.min_size, 1) > reader.remaining():
            raise DecodeError("list is longer than its bytes, or than may be")
        if self._fixed is not None:
            rows = self._fixed.iter_unpack(reader.take(count * self._fixed.size))
            if isinstance(self._item, StructCodec):
                return tuple(map(self._item.make, rows))
            return tuple([row[0] for row in rows])
        read = self._item.read
        return tuple([read(reader) for _ in range(count)])

    def to_json(self, value: tuple[T, ...]) -> Json:
        return [self._item.to_json(item) for item in value]

    def from_json(self, value: Json) -> tuple[T, ...]:
        if not isinstance(value, list):
            raise DecodeError("not a list")
        if len(value) > self._count_max:
            raise DecodeError("list is longer than may be")
        return tuple([self._item.from_json(item) for item in value])


class _Optional(Codec[T | None]):
    min_size = 1

    def __init__(self, item: Codec[T]) -> None:
        self._item = item

    def write(self, out: list[bytes], value: T | None) -> None:
        if value is None:
            out.append(b"\x00")
        else:
            out.append(b"\x01")
            self._item.write(out, value)

    def read(self, reader: Reader) -> T | None:
        flag = reader.take(1)
        if flag == b"\x00":
            return None
        if flag == b"\x01":
            return self._item.read(reader)
        raise DecodeError("optional flag is neither 0 nor 1")

    def to_json(self, value: T | None) -> Json:
        return None if value is None else self._item.to_json(value)

    def from_json(self, value: Json) -> T | None:
        return None if value is None else self._item.from_json(value)


class _Embedded(Codec[bytes]):
    """Encoded bytes of a structure, carried verbatim behind a length. JSON shows both the bytes and what they say."""

    def __init__(self, inner: Codec[Any], length_size: int) -> None:
        self._vec = _Vec(length_size)
        self.min_size = length_size
        self._inner = inner

    def write(self, out: list[bytes], value: bytes) -> None:
        self._vec.write(out, value)

    def read(self, reader: Reader) -> bytes:
        return self._vec.read(reader)

    def to_json(self, value: bytes) -> Json:
        shown = {"bytes": base64url(value)}
        return shown | {"value": self._inner.to_json(self._inner.decode(value))} if value else shown

    def from_json(self, value: Json) -> bytes:
        if not isinstance(value, dict) or not value or not value.keys() <= {"bytes", "value"}:
            raise DecodeError('an embedded structure needs "bytes", "value" or both')
        made = [self._vec.from_json(value["bytes"])] if "bytes" in value else []
        if "value" in value:
            made.append(self._vec.check_length(self._inner.encode(self._inner.from_json(value["value"]))))
        if made[0] != made[-1]:
            raise DecodeError('"bytes" and "value" of an embedded structure differ')
        return made[0]


class StructCodec(Codec[T_NT]):
    """The concatenation of a NamedTuple's fields, after an optional u16 record type.

    When all fields are plain and of fixed width, `pack` makes the encoding from trusted field values with one `struct`
    call (it does not check their lengths: for hot paths that made the values themselves), and decoding is one call too.
    """

    def __init__(self, cls: type[T_NT], record_type: int | None, check: Callable[[T_NT], None] | None) -> None:
        self.cls = cls
        self.make: Callable[[Any], T_NT] = cls._make
        self._check = check
        self._prefix = b"" if record_type is None else record_type.to_bytes(2, "big")
        hints = get_type_hints(cls, include_extras=True)
        self._fields: list[tuple[str, Codec[Any]]] = [
            (name, next(arg for arg in get_args(hints[name]) if isinstance(arg, Codec))) for name in cls._fields
        ]
        codecs = [codec for _, codec in self._fields]
        self.min_size = len(self._prefix) + sum(codec.min_size for codec in codecs)
        self._fixed: struct.Struct | None = None
        self.pack: Callable[..., bytes] = self._pack_unsupported
        if all(codec.format is not None and not isinstance(codec, StructCodec) for codec in codecs):
            inner = "".join(codec.format or "" for codec in codecs)
            self._fixed = struct.Struct(">" + inner)
            self.pack = self._fixed.pack
            if self._prefix:
                self.pack = partial(struct.Struct(">2s" + inner).pack, self._prefix)
            elif check is None:
                self.format = inner

    def _pack_unsupported(self, *_fields: object) -> bytes:
        raise TypeError(f"{self.cls.__name__} is not flat and of fixed width")

    def write(self, out: list[bytes], value: T_NT) -> None:
        out.append(self._prefix)
        for (_, codec), item in zip(self._fields, value, strict=True):
            codec.write(out, item)

    def read(self, reader: Reader) -> T_NT:
        if self._prefix and reader.take(2) != self._prefix:
            raise DecodeError(f"not a {self.cls.__name__}: another record type")
        if self._fixed is not None:
            value = self.make(self._fixed.unpack(reader.take(self._fixed.size)))
        else:
            value = self.make([codec.read(reader) for _, codec in self._fields])
        if self._check is not None:
            self._check(value)
        return value

    def to_json(self, value: T_NT) -> Json:
        return {name: codec.to_json(item) for (name, codec), item in zip(self._fields, value, strict=True)}

    def from_json(self, value: Json) -> T_NT:
        if not isinstance(value, dict) or value.keys() != {name for name, _ in self._fields}:
            names = ", ".join(name for name, _ in self._fields)
            raise DecodeError(f"{self.cls.__name__} needs exactly these members: {names}")
        made = self.make([codec.from_json(value[name]) for name, codec in self._fields])
        if self._check is not None:
            self._check(made)
        return made


def struct_codec(
    cls: type[T_NT], record_type: int | None = None, check: Callable[[T_NT], None] | None = None
) -> StructCodec[T_NT]:
    """The codec of a NamedTuple. `check` raises DecodeError for values that no honest encoder makes."""
    return StructCodec(cls, record_type, check)


U8 = Annotated[int, _UInt(1)]
U16 = Annotated[int, _UInt(2)]
U32 = Annotated[int, _UInt(4)]
U64 = Annotated[int, _UInt(8)]
Bytes5 = Annotated[bytes, _Opaque(5)]
Bytes8 = Annotated[bytes, _Opaque(8)]
Bytes16 = Annotated[bytes, _Opaque(16)]
Bytes32 = Annotated[bytes, _Opaque(32)]
Bytes64 = Annotated[bytes, _Opaque(64)]
Vec16 = Annotated[bytes, _Vec(2)]
Vec32 = Annotated[bytes, _Vec(4)]
Text = Annotated[str, _Text()]
Indexes = Annotated[tuple[int, ...], _List(_UInt(2), _COUNT_MAX)]
HASHES: Codec[tuple[bytes, ...]] = _List(_Opaque(32), _COUNT_MAX)
Hashes = Annotated[tuple[bytes, ...], HASHES]


def list_of(item: Codec[T], count_max: int = _COUNT_MAX) -> Codec[tuple[T, ...]]:
    """For use in an annotation: `Annotated[tuple[Row, ...], list_of(ROW)]`."""
    return _List(item, count_max)


def optional(item: Codec[T]) -> Codec[T | None]:
    """For use in an annotation: `Annotated[Row | None, optional(ROW)]`."""
    return _Optional(item)


def embedded(inner: Codec[Any], length_size: int = 2) -> Codec[bytes]:
    """For use in an annotation: encoded bytes of `inner`, kept verbatim. Empty bytes: none."""
    return _Embedded(inner, length_size)
