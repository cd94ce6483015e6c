"""Signs rosters: who acts for a provider, with which keys, from which epoch on.

Knows nothing of state or serving. The root key is needed here, and nowhere else: it may be kept away from the server
until inboxes, outboxes or intervals are to change.
"""

from collections.abc import Sequence

from noise.keys import KeyRing, actor_key_name
from noise.protocol.checkpoint import log_name_of
from noise.protocol.errors import NoiseError
from noise.protocol.identifiers import Actor, Role, origin_of
from noise.protocol.signing import SUITE_ED25519, Signed
from noise.protocol.statements import ROSTER, Lane, Parameters, Roster, RosterEntry, hash_roster

ROOT_KEY = "root"


def _actors(n_inboxes: int, n_outboxes: int) -> list[Actor]:
    inboxes = [Actor(Role.INBOX, 0, n) for n in range(n_inboxes)]
    outboxes = [Actor(Role.OUTBOX, 0, n) for n in range(n_outboxes)]
    return [*inboxes, *outboxes, Actor(Role.SEQUENCER, 0, 0), Actor(Role.LOG, 0, 0)]


def sign_roster(
    keys: KeyRing, rosters: Sequence[Signed], valid_from_epoch: int, shape: tuple[int, int], parameters: Parameters
) -> Signed:
    """The roster after `rosters`. Actors that go on keep their keys; new ones get new keys. `shape`: inboxes, outboxes.

    Raises KeyMissing when the root key is kept elsewhere, NoiseError when the one at hand is another provider's.
    """
    root = keys.load(ROOT_KEY)
    before = ROSTER.decode(rosters[-1].body) if rosters else None
    if before and before.root_key != root.public_key:
        raise NoiseError("the file of the root key holds another provider's: nobody would believe", code="key-foreign")
    going_on = {entry.actor: entry for entry in before.actors} if before else {}
    highest: dict[bytes, int] = {}
    for signed in rosters:
        for entry in ROSTER.decode(signed.body).actors:
            highest[entry.actor] = max(highest.get(entry.actor, 0), entry.incarnation)
    entries = []
    for actor in _actors(*shape):
        name = actor.encode()
        if name in going_on:
            entries.append(going_on[name])
            continue
        incarnation = highest.get(name, 0) + 1
        file = actor_key_name(actor, incarnation)
        signer = keys.load(file) if keys.exists(file) else keys.create(file)
        entries.append(RosterEntry(name, incarnation, SUITE_ED25519, signer.public_key))
    origin = origin_of(root.public_key)
    roster = Roster(
        origin,
        before.version + 1 if before else 1,
        hash_roster(rosters[-1].body) if rosters else bytes(32),
        valid_from_epoch,
        root.public_key,
        log_name_of(origin),
        tuple(entries),
        tuple(Lane(n, Actor(Role.INBOX, 0, n).encode()) for n in range(shape[0])),
        parameters,
    )
    return root.sign("roster", origin, ROSTER.encode(roster))
