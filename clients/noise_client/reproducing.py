"""The past of our mailbox, asked for again: what was forgotten here, the signed history root still commits to.

Knows nothing of why it was forgotten. The provider has to produce all of it, from the first record on, and every byte
is verified as if it came for the first time, and then against the compact range that we kept.
"""

from noise.protocol.delta import RecipientLists
from noise.protocol.envelope import RecipientSet
from noise.protocol.errors import NoiseError, ProviderMisbehaved
from noise.protocol.evidence.material import Material
from noise.protocol.follower import Follower
from noise.protocol.frames import PURPOSE_SESSION
from noise.protocol.identifiers import parse_seq
from noise.protocol.merkle import EMPTY_RANGE, CompactRange, Tree, leaf_hashes, range_hashes
from noise.protocol.trust import Trusted
from noise_client.device import Device
from noise_client.kept_history import gained_by
from noise_client.provider_http import ProviderHttp


async def reproduce(
    http: ProviderHttp,
    device: Device,
    origin: bytes,
    audience: str,
    base: CompactRange,
    trusted: Trusted,
    epoch: int,
) -> Material:
    """All records of our mailbox, and the messages of one epoch. `base`: over the first records, as we verified them.
    `trusted`: where that led.

    Takes memory for every record, 200 bytes each, and time for every message ever delivered. Raises LinkError or
    Rejected when the provider does not produce it, ProviderMisbehaved when it is not what it was.
    """
    challenge = await http.challenge()
    if challenge.origin != origin:
        raise NoiseError("another provider answers here", code="wrong-origin")
    token = await http.session(device.answer(challenge, audience, PURPOSE_SESSION))
    counters: dict[bytes, int] = {}
    follower = Follower(origin, device.device_id, last_counter=counters.get)
    records: list[bytes] = []
    leaves: dict[int, list[bytes]] = {}
    sets: dict[bytes, RecipientSet] = {}
    while True:
        before = follower.trusted
        delta = await http.page(token, follower.cursor)
        step = follower.check_delta(delta, RecipientLists())
        follower.adopt(step)
        if step.trusted.log.size == trusted.log.size and step.trusted.log != trusted.log:
            raise ProviderMisbehaved("the provider shows another log than it showed before", code="bad-history")
        counters.update(step.counters)
        gained = gained_by(before, step, delta)
        records += [record for _, record in gained.records]
        wanted = [message for message in gained.messages if parse_seq(message.seq)[0] == epoch]
        for message in wanted:
            leaves.setdefault(message.k, []).append(message.leaf)
        roots = {message.recipients_root for message in wanted}
        sets.update((root, members) for root, members in gained.sets if root in roots)
        if step.trusted.is_complete:
            break
    reached = trusted.delivered.records if trusted.delivered else EMPTY_RANGE
    tree = Tree(leaf_hashes(records))
    for size, peaks in (base, reached):
        if size > tree.size or peaks != tuple(range_hashes(tree.node, 0, size)):
            raise ProviderMisbehaved("the provider shows another past than it showed before", code="bad-history")
    return Material(
        origin, device.device_id, follower.trusted, EMPTY_RANGE, records, lambda k: leaves.get(k, ()), sets.get
    )
