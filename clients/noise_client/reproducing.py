"""The past of our mailbox, asked for again: what was forgotten here, the signed history root still commits to.

Knows nothing of why it was forgotten. The provider has to produce all of it, from the first record on, and every byte
is verified as if it came for the first time, and then against the compact range that we kept.
"""

from noise.protocol.delta import RecipientLists
from noise.protocol.encoding import Codec
from noise.protocol.envelope import RecipientSet
from noise.protocol.errors import NoiseError, ProviderMisbehaved
from noise.protocol.evidence.material import Material
from noise.protocol.follower import Follower
from noise.protocol.frames import AUTH_PROOF, PURPOSE_SESSION, AuthProof, SignedAuthProof
from noise.protocol.history import HISTORY_RECORD
from noise.protocol.identifiers import parse_seq
from noise.protocol.merkle import EMPTY_RANGE, CompactRange, Tree, leaf_hashes, range_hashes
from noise.protocol.trust import Trusted
from noise_client.device import Device
from noise_client.provider_http import ProviderHttp

_AUTH_PROOF: Codec[AuthProof] = AUTH_PROOF


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
    token = await http.session(await _prove(http, device, origin, audience))
    counters: dict[bytes, int] = {}
    follower = Follower(origin, device.device_id, last_counter=counters.get)
    records: list[bytes] = []
    leaves: dict[int, list[bytes]] = {}
    sets: dict[bytes, RecipientSet] = {}
    while True:
        delta = await http.page(token, follower.cursor)
        step = follower.check_delta(delta, RecipientLists())
        follower.adopt(step)
        if follower.trusted.log.size == trusted.log.size and follower.trusted.log != trusted.log:
            raise ProviderMisbehaved("the provider shows another log than it showed before", code="bad-history")
        counters.update(step.counters)
        k_of = {HISTORY_RECORD.decode(entry.record).epoch: len(records) + i for i, entry in enumerate(delta.history)}
        records += [entry.record for entry in delta.history]
        for delivery in step.deliveries:
            if parse_seq(delivery.seq)[0] == epoch:
                leaves.setdefault(k_of[epoch], []).append(delivery.leaf)
                recipients = delivery.recipients
                sets[recipients.root] = RecipientSet(recipients.env_salt, recipients.device_ids)
        if (follower.trusted.delivered.state if follower.trusted.delivered else None) == follower.trusted.state:
            break
    reached = trusted.delivered.records if trusted.delivered else EMPTY_RANGE
    tree = Tree(leaf_hashes(records))
    for size, peaks in (base, reached):
        if size > tree.size or peaks != tuple(range_hashes(tree.node, 0, size)):
            raise ProviderMisbehaved("the provider shows another past than it showed before", code="bad-history")
    return Material(
        origin, device.device_id, follower.trusted, EMPTY_RANGE, records, lambda k: leaves.get(k, ()), sets.get
    )


async def _prove(http: ProviderHttp, device: Device, origin: bytes, audience: str) -> SignedAuthProof:
    challenge = await http.challenge()
    if challenge.origin != origin:
        raise NoiseError("another provider answers here", code="wrong-origin")
    until_ms = min(challenge.server_ms + challenge.life_ms, 2**64 - 1)
    signer = device.signer
    proof = AuthProof(
        *(origin, device.device_id, signer.public_key, challenge.nonce, audience, PURPOSE_SESSION, until_ms)
    )
    return SignedAuthProof(*signer.sign("auth", origin, _AUTH_PROOF.encode(proof)))
