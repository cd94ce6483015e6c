"""A real store whose reads show another truth: as if an actor had signed it, with its real key.

Knows nothing of who reads.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from noise.keys import KeyRing, actor_key_name
from noise.protocol.identifiers import Role, parse_actor
from noise.protocol.statements import EPOCH_HEAD, MANIFEST, MERGE_SHEET, ROUTE_SHEET, STATEMENTS
from noise.store.base import BundleRow, StatementRow, Store

BODIES: dict[Role, Any] = {
    Role.INBOX: MANIFEST,
    Role.ROUTER: ROUTE_SHEET,
    Role.RECEIVER: MERGE_SHEET,
    Role.OUTBOX: EPOCH_HEAD,
}


class LyingStore:
    """`statement`, `bundle`: what becomes of each row that is read."""

    def __init__(
        self,
        store: Store,
        *,
        statement: Callable[[StatementRow], StatementRow] = lambda row: row,
        bundle: Callable[[BundleRow], BundleRow] = lambda row: row,
    ) -> None:
        self._store = store
        self._statement = statement
        self._bundle = bundle

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def statements(self, epoch: int) -> list[StatementRow]:
        return [self._statement(row) for row in await self._store.statements(epoch)]

    async def bundles_of(self, epoch: int, lane: int) -> list[BundleRow]:
        return [self._bundle(row) for row in await self._store.bundles_of(epoch, lane)]


def signed_otherwise(keys: Path, origin: bytes, actor: str, epoch: int, **fields: Any) -> Any:
    """What becomes of statements: that of `actor` in `epoch` has other fields, and its signature."""

    def change(row: StatementRow) -> StatementRow:
        name = parse_actor(row.actor)
        if (str(name), row.epoch) != (actor, epoch):
            return row
        codec = BODIES[name.role]
        body = codec.encode(codec.decode(row.body)._replace(**fields))
        signer = KeyRing(keys).load(actor_key_name(name, row.incarnation))
        return row._replace(body=body, signature=signer.sign(STATEMENTS[name.role][0], origin, body).signature)

    return change
