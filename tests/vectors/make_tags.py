"""Makes the golden vectors of domain separation: every hash label, signature label and record type that there is.

`hash_of_abc` is `SHA-256(tag || "abc")`. The signature inputs themselves are in `signing.json`.
"""

from typing import Any

from noise.protocol import envelope, history, statements
from noise.protocol.signing import HASH_LABELS, SIGNATURE_LABELS, hasher, tag
from tests.protocol.structures import STRUCTS, record_type_of
from tests.vectors.golden import readable, write


def leaf_types() -> dict[str, int]:
    return {
        name.removesuffix("_LEAF").lower(): int.from_bytes(value, "big")
        for module in (envelope, history, statements)
        for name, value in vars(module).items()
        if name.endswith("_LEAF") and isinstance(value, bytes)
    }


def vectors() -> dict[str, Any]:
    """File name to what the file holds."""
    types = {codec.cls.__name__: record_type_of(codec) for codec in STRUCTS.values()}
    content = {
        "prefix": "noise-seq/1/",
        "hashes": {
            label: {"name": f"h/{label}", "tag": tag(f"h/{label}"), "hash_of_abc": hasher(label)(b"abc")}
            for label in sorted(HASH_LABELS)
        },
        "signatures": {
            label: {"name": f"sig/{label}", "tag": tag(f"sig/{label}")} for label in sorted(SIGNATURE_LABELS)
        },
        "record_types": {name: number for name, number in types.items() if number is not None},
        "leaf_types": leaf_types(),
    }
    return {"tags.json": readable(content)}


if __name__ == "__main__":
    write(vectors())
