"""Custodies of many actors, each in a store of its own, as one.

Knows nothing of how or where any of them is stored.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import trio

from noise.protocol.errors import NoiseError
from noise.store.base import StoreConflict, StoreFailed
from noise.store.custody import Custody, CustodyRow


class ApartCustody(Custody):
    """`custodies`: by actor, 5 bytes. Their owner opens and closes them."""

    def __init__(self, custodies: Mapping[bytes, Custody]) -> None:
        self._custodies = dict(custodies)

    def last_epoch(self, actor: bytes) -> int:
        custody = self._custodies.get(actor)
        return -1 if custody is None else custody.last_epoch(actor)

    async def keep(self, rows: Sequence[CustodyRow], prune_before: int) -> None:
        """All actors at once. If several fail, what the caller learns is the worst: StoreFailed before any refusal."""
        by_actor: dict[bytes, list[CustodyRow]] = defaultdict(list)
        for row in rows:
            by_actor[row.statement.actor].append(row)
        errors: list[NoiseError] = []

        async def keep_one(custody: Custody, own_rows: list[CustodyRow]) -> None:
            try:
                await custody.keep(own_rows, prune_before)
            except NoiseError as error:
                errors.append(error)

        for actor in by_actor:
            if actor not in self._custodies:
                raise StoreConflict(f"there is no custody of actor {actor.hex()}")
        await trio.lowlevel.checkpoint_if_cancelled()
        with trio.CancelScope(shield=True):
            async with trio.open_nursery() as nursery:
                for actor, own_rows in by_actor.items():
                    nursery.start_soon(keep_one, self._custodies[actor], own_rows)
        for error in sorted(errors, key=lambda error: not isinstance(error, StoreFailed)):
            raise error

    async def find(self, actor: bytes, incarnation: int, epoch: int) -> CustodyRow | None:
        custody = self._custodies.get(actor)
        if custody is None:
            await trio.lowlevel.checkpoint()
            return None
        return await custody.find(actor, incarnation, epoch)
