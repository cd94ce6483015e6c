"""Fixtures of the client's tests.

Must not know: what any test does with them.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from noise_client import MemoryTrustStore, SqliteTrustStore, TrustStore, create_device_file
from tests.client.devices import ALICE

Reopen = Callable[[], TrustStore]
"""Alice's store, opened again after its process ended well."""


@pytest.fixture(params=["sqlite", "memory"])
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Reopen]:
    opened: list[TrustStore] = []
    path = tmp_path / "alice.device"
    if request.param == "sqlite":
        create_device_file(path, ALICE)

    def open_again() -> TrustStore:
        if request.param == "memory":
            opened.append(opened[-1] if opened else MemoryTrustStore(ALICE))
            return opened[-1]
        while opened:
            opened.pop().close()
        opened.append(SqliteTrustStore(path))
        return opened[-1]

    yield open_again
    for store in opened:
        store.close()
