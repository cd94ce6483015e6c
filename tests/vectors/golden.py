"""How golden vectors are written and read: `python -m tests.vectors.golden` writes every file again.

Knows nothing of what is in them. Bytes are hex, integers beyond 2**53 are decimal strings (for JavaScript: `BigInt()`
reads both), a NamedTuple is an object. A module `make_<topic>.py` offers `vectors()`: file name to what the file holds.
"""

import importlib
import json
from types import ModuleType
from typing import Any

from tests.vectors.make_merkle import DIRECTORY, as_text

__all__ = ["DIRECTORY", "as_text", "makers", "read", "readable", "refusal_of", "write"]


def readable(value: Any) -> Any:
    """The same value as JSON can hold it."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, dict):
        return {name: readable(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [readable(part) for part in value]
    return str(value) if isinstance(value, int) and value > 2**53 else value


def refusal_of(call: Any, *arguments: Any) -> str:
    """The code with which a call refuses its arguments; ValueError when it does not: a vector that shows nothing."""
    try:
        call(*arguments)
    except Exception as error:
        return str(error.code)  # type: ignore[attr-defined]
    raise ValueError(f"{call} accepts {arguments}")


def makers() -> list[ModuleType]:
    names = sorted(path.stem for path in DIRECTORY.glob("make_*.py"))
    return [importlib.import_module(f"tests.vectors.{name}") for name in names]


def read(name: str) -> Any:
    return json.loads((DIRECTORY / name).read_text("utf-8"))


def write(files: dict[str, Any]) -> None:
    for name, content in files.items():
        (DIRECTORY / name).write_text(as_text(content), "utf-8")


if __name__ == "__main__":
    for maker in makers():
        write(maker.vectors())
