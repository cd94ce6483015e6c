"""Shows the committed log to anybody who asks: checkpoints, rosters, proofs, and every signed statement of an epoch.

Must not know: who asks; what came in which mailbox. Nothing that is not committed yet is ever shown.
"""

from typing import Any

import trio
from quart import Response
from quart_trio import QuartTrio

from noise.pipeline.epoch_pages import read_statements
from noise.protocol.delta import (
    DELTA_SHARED,
    SIGNED_ROSTER,
    DeltaShared,
    SignedRoster,
)
from noise.protocol.encoding import HASHES, Codec
from noise.protocol.errors import Rejected
from noise.protocol.json_text import parse_decimal
from noise.protocol.log_pages import EPOCH_STATEMENTS, INCLUSION, ROSTERS, EpochStatements, Inclusion
from noise.protocol.merkle import NodeSource, consistency_proof, inclusion_proof
from noise.web.gateway import Gateway
from noise.web.negotiation import Form, answer_encoded, answer_form
from noise.web.query import read_query

_PROOFS_AT_ONCE = 4  # far fewer than the blocks that the log keeps loaded, or they push out each other's
_FOR_EVER = "public, max-age=31536000, immutable"


_INCLUSION: Codec[Inclusion] = INCLUSION
_EPOCH_STATEMENTS: Codec[EpochStatements] = EPOCH_STATEMENTS
_ROSTER: Codec[SignedRoster] = SIGNED_ROSTER
_SHARED: Codec[DeltaShared] = DELTA_SHARED


class History:
    """Everything here is public."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._proving = trio.Semaphore(_PROOFS_AT_ONCE)

    def add_routes(self, app: QuartTrio) -> None:
        for path, view in (
            ("/v1/checkpoint", self.get_checkpoint),
            ("/v1/roster", self.get_roster),
            ("/v1/rosters", self.get_rosters),
            ("/v1/log/consistency", self.get_consistency),
            ("/v1/log/inclusion", self.get_inclusion),
            ("/v1/log/records/<epoch>", self.get_record),
        ):
            app.add_url_rule(path, view_func=view, methods=["GET"])

    async def get_checkpoint(self) -> Response:
        """The newest committed checkpoint: a C2SP signed note."""
        read_query()
        shared = _SHARED.decode(self._gateway.view().outboxes[0].shared)
        return Response(shared.note, content_type="text/plain; charset=utf-8")

    async def get_roster(self) -> Response:
        """The roster in force, with the root key's signature."""
        read_query()
        return await answer_encoded(_ROSTER, _ROSTER.encode(self._gateway.rosters[-1]), answer_form(Form.JSON))

    async def get_rosters(self) -> Response:
        """All rosters, in order."""
        read_query()
        return await answer_encoded(ROSTERS, ROSTERS.encode(tuple(self._gateway.rosters)), answer_form(Form.JSON))

    async def get_consistency(self) -> Response:
        """The RFC 9162 proof that the log of size `new` begins with the log of size `old`."""
        numbers = read_query(old=None, new=None)
        form = answer_form(Form.JSON)
        old_size, new_size = numbers["old"], numbers["new"]
        self._gateway.check_committed(new_size)
        if old_size > new_size:
            raise Rejected("no log shrinks: old is larger than new", code="bad-query")
        async with self._proving:
            node = await self._nodes_around(old_size - 1, new_size - 1)
            proof = tuple(consistency_proof(node, old_size, new_size))
        return await _answer_for_ever(HASHES, HASHES.encode(proof), form)

    async def get_inclusion(self) -> Response:
        """The RFC 9162 proof that the record of `epoch` is in the log of size `size`."""
        numbers = read_query(epoch=None, size=None)
        form = answer_form(Form.JSON)
        epoch, size = numbers["epoch"], numbers["size"]
        self._gateway.check_committed(size)
        if epoch >= size:
            raise Rejected("no log of this size has this epoch", code="bad-query")
        async with self._proving:
            node = await self._nodes_around(epoch, size - 1)
            inclusion = Inclusion(node(0, epoch), tuple(inclusion_proof(node, epoch, size)))
        return await _answer_for_ever(_INCLUSION, _INCLUSION.encode(inclusion), form)

    async def get_record(self, epoch: str) -> Response:
        """An epoch's record, checkpoint, and all that its actors signed."""
        read_query()
        form = answer_form(Form.JSON)
        number = parse_decimal(epoch)
        self._gateway.check_committed(number + 1)
        found = await read_statements(self._gateway.store, number)
        return await _answer_for_ever(_EPOCH_STATEMENTS, _EPOCH_STATEMENTS.encode(found), form)

    async def _nodes_around(self, *indexes: int) -> NodeSource:
        """The log's nodes, those below a block as far as they lie in the blocks around these leaves.

        That is all that a proof needs: its siblings share a block with the leaf on their path, and the ragged right
        edge of a tree lies in its last block. To be used at once: others may push out what was loaded.
        """
        log = self._gateway.pipeline.sequencer.log
        wanted = [index for index in indexes if index >= 0]
        while not all(log.has(index) for index in wanted):
            await log.prepare(self._gateway.store, *wanted)
        return log.node


async def _answer_for_ever(codec: Codec[Any], encoded: bytes, form: Form) -> Response:
    """What is committed never changes: anybody may keep it."""
    response = await answer_encoded(codec, encoded, form)
    response.headers["Cache-Control"] = _FOR_EVER
    return response
