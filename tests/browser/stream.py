"""What a provider pushes to one mailbox while peers write to it: one message, and one delta, in every epoch.

Knows nothing of who follows the stream. It comes from a real pipeline; the messages are sealed, as clients seal them.
"""

import tempfile
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import NamedTuple

from noise.protocol.delta import RecipientLists
from noise.protocol.envelope import Draft
from noise.protocol.frames import START
from noise.protocol.sealing import PAYLOAD_DATA, BoxFor, Payload, seal
from tests.provider import Device, Provider, recipients_of, running_provider
from tests.vectors.cast import filler

SENDERS = 4
OTHERS = 400
TEXT_BYTES = 200


class Stream(NamedTuple):
    """Encoded frames. The first one brings the roster, each one after that the message of one epoch."""

    origin: bytes
    mailbox: bytes
    frames: list[bytes]


class Reader:
    """The fanout's Subscriber for a mailbox that nothing has come to yet."""

    def __init__(self, mailbox: bytes) -> None:
        self.device_id = mailbox
        self.cursor = START
        self.lists = RecipientLists()
        self.frames: list[bytes] = []

    def push_nowait(self, frame: bytes) -> None:
        self.frames.append(frame)


async def make_stream(mailbox: bytes, box: BoxFor, n_messages: int) -> Stream:
    """Two inboxes, two outboxes, OTHERS other mailboxes, SENDERS peers that write in turn. `box`: what to seal for."""
    with tempfile.TemporaryDirectory() as data:
        async with running_provider(Path(data, "provider"), inboxes=2, outboxes=2, epoch_ms=0) as provider:
            senders = [Device(f"sender {i}") for i in range(SENDERS)]
            others = [Device(f"other {i}") for i in range(OTHERS)]
            await provider.submit(senders[0].write(provider.origin, [b"hello"], others))
            reader = Reader(mailbox)
            fanout = provider.gateway.pipeline.fanout
            first = await fanout.catch_up(reader)
            assert fanout.join(reader)
            for text, sender in zip(texts(n_messages), cycle(senders), strict=False):
                await send(provider, sender, mailbox, box, text)
            fanout.leave(reader)
            assert len(reader.frames) == n_messages
            return Stream(provider.origin, mailbox, [first, *reader.frames])


def texts(count: int) -> Iterator[bytes]:
    return (filler(f"text {i}", TEXT_BYTES) for i in range(count))


async def send(provider: Provider, sender: Device, mailbox: bytes, box: BoxFor, text: bytes) -> None:
    """A message to the mailbox, whose epoch is shown when this returns."""
    recipients = recipients_of(sender.device_id, mailbox)
    boxes = {sender.device_id: box, mailbox: box}
    key = filler(text.hex(), 16)
    payload = Payload(PAYLOAD_DATA, text)
    common, ciphertexts = seal(provider.origin, sender.device_id, sender.next_ctr, recipients, payload, key, boxes)
    await provider.submit(sender.bundle(provider.origin, [Draft(recipients, common, ciphertexts, 5)]))
