"""Every way to change one place of a structure: found by walking its codec, so that a new field is attacked unasked.

Knows nothing of what a structure means. What bytes of a fixed width cannot express is left to damage on the wire.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from noise.protocol import encoding
from noise.protocol.encoding import Codec, StructCodec
from noise.protocol.errors import DecodeError


class Mutation(NamedTuple):
    """`place`: the path of field names, list items as numbers. `how`: a word."""

    place: str
    how: str
    value: Any

    def under(self, name: str, value: Any) -> "Mutation":
        return Mutation(f"{name}.{self.place}" if self.place else name, self.how, value)


def mutations(codec: Codec[Any], value: Any, others: Sequence[Any] = ()) -> Iterator[Mutation]:
    """Values that differ from `value` in one place. `others`: values of the same codec, to take things from."""
    for mutation in _mutations(codec, value, others):
        if mutation.value != value:
            yield mutation


def _mutations(codec: Codec[Any], value: Any, others: Sequence[Any]) -> Iterator[Mutation]:
    for other in {repr(other): other for other in others}.values():
        yield Mutation("", "taken", other)
    match codec:
        case encoding._UInt():
            most = (1 << 8 * codec.min_size) - 1
            for how, changed in (("more", value + 1), ("less", value - 1), ("flipped", value ^ (most + 1) >> 1)):
                if 0 <= changed <= most:
                    yield Mutation("", how, changed)
            yield Mutation("", "none", 0)
            yield Mutation("", "most", most)
        case encoding._Opaque():
            yield from _changed_bytes(value)
        case encoding._Vec():
            yield from _changed_bytes(value)
            yield from _resized_bytes(value)
        case encoding._Embedded():
            yield from _changed_bytes(value)
            yield from _resized_bytes(value)
            inner: Codec[Any] = codec._inner
            for here in _decoded(inner, [value]):
                for mutation in mutations(inner, here, _decoded(inner, others)):
                    yield mutation._replace(value=inner.encode(mutation.value))
        case encoding._List():
            yield from _changed_list(codec._item, value, others)
        case encoding._Optional():
            yield Mutation("", "removed", None)
            if value is not None:
                yield from _mutations(codec._item, value, [other for other in others if other is not None])
        case StructCodec():
            for name, field in codec._fields:
                there = [getattr(other, name) for other in others]
                for mutation in mutations(field, getattr(value, name), there):
                    yield mutation.under(name, value._replace(**{name: mutation.value}))


def _decoded(codec: Codec[Any], encoded: Sequence[bytes]) -> list[Any]:
    """Those of them that decode."""
    found = []
    for data in encoded:
        with suppress(DecodeError):
            found.append(codec.decode(data))
    return found


def _changed_bytes(value: bytes) -> Iterator[Mutation]:
    if value:
        for at in sorted({0, len(value) // 2, len(value) - 1}):
            yield Mutation("", "flipped", value[:at] + bytes([value[at] ^ 1 << at % 8]) + value[at + 1 :])
        yield Mutation("", "swapped", value[len(value) // 2 :] + value[: len(value) // 2])
        yield Mutation("", "none", bytes(len(value)))


def _resized_bytes(value: bytes) -> Iterator[Mutation]:
    yield Mutation("", "cut", value[:-1])
    yield Mutation("", "removed", b"")
    yield Mutation("", "extended", value + b"\0")
    yield Mutation("", "doubled", value + value)


def _changed_list(item: Codec[Any], value: tuple[Any, ...], others: Sequence[tuple[Any, ...]]) -> Iterator[Mutation]:
    yield Mutation("", "removed", ())
    for at in range(len(value)):
        before, here, after = value[:at], value[at], value[at + 1 :]
        yield Mutation(str(at), "removed", before + after)
        yield Mutation(str(at), "doubled", (*before, here, here, *after))
        if after:
            yield Mutation(str(at), "swapped", (*before, after[0], here, *after[1:]))
        there = [other[min(at, len(other) - 1)] for other in others if other]
        for mutation in mutations(item, here, there):
            yield mutation.under(str(at), (*before, mutation.value, *after))
    for other in others:
        for extra in other[:1]:
            yield Mutation("", "extended", (*value, extra))
            yield Mutation("", "preceded", (extra, *value))
