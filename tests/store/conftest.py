"""The worlds in which the contract is tested: a place where a store can be opened, and opened again.

Knows nothing of the contract. In both worlds a write can be told to fail, with either outcome.
"""

import errno
from contextlib import asynccontextmanager

import pytest

from noise.store.base import EpochWrite, ManifestWrite, PrekeyTake, PrekeyWrite, RosterRow
from noise.store.memory import MemoryStore
from noise.store.sqlite import SqliteStore, create_sqlite

ORIGIN = bytes(range(32))


class FaultySqliteStore(SqliteStore):
    """Fails as `MemoryStore` does: before the commit, or after it. Counts what shared each transaction."""

    def __init__(self, path, origin):
        super().__init__(path, origin)
        self.group_sizes = []
        self._faults = {}

    def fail_next(self, operation, *, stored):
        self._faults[operation] = stored

    def _run_transaction(self, file, group):
        self.group_sizes.append(len(group))
        self._fault = None
        for write in group:
            self._fault = self._faults.pop(operation_of(write.content), self._fault)
        return super()._run_transaction(file, group)

    def _end_transaction(self, writer):
        if self._fault is not False:
            super()._end_transaction(writer)
        if self._fault is not None:
            raise OSError(errno.EIO, "failed on request")


def operation_of(content):
    return {
        ManifestWrite: "append_manifest",
        EpochWrite: "commit_epoch",
        RosterRow: "add_roster",
        PrekeyWrite: "add_prekeys",
        PrekeyTake: "take_prekey",
    }[type(content)]


class MemoryWorld:
    def __init__(self):
        self._store = MemoryStore()

    @asynccontextmanager
    async def open(self):
        self._store = self._store.reopen()
        yield self._store


class SqliteWorld:
    def __init__(self, path):
        self.path = path

    @asynccontextmanager
    async def open(self):
        if not self.path.exists():
            await create_sqlite(self.path, ORIGIN)
        async with FaultySqliteStore(self.path, ORIGIN) as store:
            yield store


@pytest.fixture(params=["memory", "sqlite"])
def world(request, tmp_path):
    return MemoryWorld() if request.param == "memory" else SqliteWorld(tmp_path / "noise.db")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "noise.db"
