"""The worlds in which the contract of custody is tested: a place where one can be opened, and opened again.

Knows nothing of the contract. In every world a keep can be told to fail, with either outcome.
"""

import errno
from contextlib import AsyncExitStack, asynccontextmanager

from noise.store.custody import CustodyRow
from noise.store.custody_apart import ApartCustody
from noise.store.custody_memory import MemoryCustody
from noise.store.custody_sqlite import SqliteCustody, create_custody
from tests.store.conftest import ORIGIN
from tests.store.examples import blob, make_statement

ACTORS = (0, 1, 2)


class FaultySqliteCustody(SqliteCustody):
    """Fails as `MemoryCustody` does: before the commit, or after it."""

    _fault = None

    def fail_next(self, *, stored):
        self._fault = stored

    def _end_transaction(self, connection):
        if self._fault is not False:
            super()._end_transaction(connection)
        if self._fault is not None:
            raise OSError(errno.EIO, "failed on request")


class MemoryCustodyWorld:
    def __init__(self):
        self._custody = MemoryCustody()

    @asynccontextmanager
    async def open(self):
        self._custody = self._custody.reopen()
        yield self._custody

    def fail_next(self, actor, *, stored):
        self._custody.fail_next(stored=stored)


class SqliteCustodyWorld:
    def __init__(self, path):
        self._path = path

    @asynccontextmanager
    async def open(self):
        if not self._path.exists():
            await create_custody(self._path, ORIGIN)
        async with FaultySqliteCustody(self._path, ORIGIN, b"") as self._custody:
            yield self._custody

    def fail_next(self, actor, *, stored):
        self._custody.fail_next(stored=stored)


class ApartWorld:
    """Each actor's custody in a file of its own."""

    def __init__(self, directory):
        self._directory = directory

    @asynccontextmanager
    async def open(self):
        self._custodies = {}
        async with AsyncExitStack() as stack:
            for actor in map(actor_of, ACTORS):
                path = self._directory / actor.hex() / "custody.db"
                if not path.exists():
                    await create_custody(path, ORIGIN, actor)
                custody = await stack.enter_async_context(FaultySqliteCustody(path, ORIGIN, actor))
                self._custodies[actor] = custody
            yield ApartCustody(self._custodies)

    def fail_next(self, actor, *, stored):
        self._custodies[actor_of(actor)].fail_next(stored=stored)


def actor_of(number):
    return make_statement(0, number).actor


def make_row(epoch, actor=0, incarnation=0, salt=0, batch_bytes=300):
    """A row; equal numbers make equal rows."""
    statement = make_statement(epoch, actor, incarnation, salt)
    return CustodyRow(statement, blob("batch", epoch, actor, incarnation, salt, size=batch_bytes))


def make_rows(epoch):
    """A row of every actor."""
    return [make_row(epoch, actor) for actor in ACTORS]


async def find_row(custody, row):
    """What is kept in a row's slot."""
    return await custody.find(row.statement.actor, row.statement.incarnation, row.statement.epoch)


async def kept(custody, epochs=range(12)):
    """All rows of all actors in those epochs, as numbers (epoch, actor), incarnations 0 and 1; checks each of them."""
    found = []
    for epoch in epochs:
        for actor in ACTORS:
            for incarnation in (0, 1):
                row = await custody.find(actor_of(actor), incarnation, epoch)
                if row is not None:
                    assert row == make_row(epoch, actor, incarnation)
                    found.append((epoch, actor))
    return found
