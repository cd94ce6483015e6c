"""How far each device says that it has read: signed by the device, kept with the next epoch.

Knows nothing of payloads. An ack is the device's own word and nobody else's: it says what may be let go one day, and
proves nothing against the provider.
"""

from collections import OrderedDict
from typing import Final

from noise.protocol.encoding import Codec
from noise.protocol.errors import Rejected, SignatureError
from noise.protocol.frames import ACK_BODY, AckBody, AckFrame
from noise.protocol.identifiers import device_id_of
from noise.protocol.signing import SIGNED, Signed, verify_strict
from noise.store.base import CacheRow

_BODY: Codec[AckBody] = ACK_BODY


_DEVICES_REMEMBERED: Final = 1 << 16


class AckTable:
    """Acks that wait to be written, and how far each device had come in this run."""

    def __init__(self) -> None:
        self._waiting: dict[bytes, bytes] = {}
        self._reached: OrderedDict[bytes, int] = OrderedDict()

    def accept(self, ack: AckFrame, origin: bytes, device_id: bytes, pushed_next: int) -> None:
        """`pushed_next`: how many records the device was pushed. Raises DecodeError, SignatureError or Rejected."""
        body = _BODY.decode(ack.body)
        if body.origin != origin:
            raise Rejected("the ack is addressed to another provider", code="wrong-origin")
        if body.device_id != device_id or device_id_of(body.key) != device_id:
            raise SignatureError("an ack for another device", code="wrong-key")
        verify_strict(body.key, ack.signature, "ack", origin, ack.body)
        if body.hist_next > pushed_next:
            raise Rejected("an ack of records that were never pushed", code="ack-ahead")
        if body.hist_next >= self._reached.get(device_id, 0):
            self._reached[device_id] = body.hist_next
            self._reached.move_to_end(device_id)
            if len(self._reached) > _DEVICES_REMEMBERED:
                self._reached.popitem(last=False)
            self._waiting[device_id] = SIGNED.encode(Signed(ack.body, ack.signature))

    def take_rows(self, next_epoch: int) -> tuple[list[CacheRow], int]:
        """(rows to write with this epoch, `next_epoch`): nothing of acks is ever replayed."""
        rows = [CacheRow(device_id, signed) for device_id, signed in self._waiting.items()]
        self._waiting.clear()
        return rows, next_epoch
