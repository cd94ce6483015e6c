"""The golden vectors are what the code makes, and they are readable, small and complete."""

import json
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.vectors import golden

FILE_BYTES_MAX = 80_000
MAKERS = golden.makers()


@cache
def produced(maker: ModuleType) -> dict[str, Any]:
    vectors: dict[str, Any] = maker.vectors()
    return vectors


@pytest.mark.parametrize("maker", MAKERS, ids=lambda maker: maker.__name__.rpartition(".")[2])
def test_stored_is_what_the_code_makes(maker: ModuleType) -> None:
    """A difference is a change of the protocol: nobody who holds old bytes will understand the new ones."""
    for name, content in produced(maker).items():
        assert golden.read(name) == json.loads(json.dumps(content)), f"{name}: python -m tests.vectors.golden"


def test_every_file_has_a_maker() -> None:
    stored = {path.name for path in golden.DIRECTORY.glob("*.json")}
    assert stored == {name for maker in MAKERS for name in produced(maker)}


@pytest.mark.parametrize("path", sorted(golden.DIRECTORY.glob("*.json")), ids=lambda path: path.name)
def test_files_are_readable(path: Path) -> None:
    text = path.read_text("utf-8")
    assert len(text) < FILE_BYTES_MAX
    assert text == golden.as_text(json.loads(text))
