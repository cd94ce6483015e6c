"""Signs rosters: who acts for a provider, with which keys, from which epoch on.

Knows nothing of state or serving. The root key is needed here, and nowhere else: it may be kept away from the server
until inboxes, outboxes, intervals or keys are to change.
"""

from collections.abc import Collection, Sequence

from noise.keys import KeyRing, actor_key_name
from noise.protocol.checkpoint import log_name_of
from noise.protocol.errors import NoiseError
from noise.protocol.identifiers import Actor, Role, origin_of, parse_actor
from noise.protocol.placement import actors_of
from noise.protocol.signing import SUITE_ED25519, Signed
from noise.protocol.statements import FIRST_INCARNATION, ROSTER, Lane, Parameters, Roster, RosterEntry, hash_roster

ROOT_KEY = "root"

LANES_EVER_MAX = 1024
"""Lanes that a provider may have in its life, for a bundle's id has ten bits for its lane: each inbox that lost its
state took another one."""


def actors_of_shape(n_inboxes: int, n_outboxes: int) -> list[Actor]:
    """All that a provider of so many inboxes and outboxes has, in order of their encodings."""
    return [
        *(Actor(Role.INBOX, 0, n) for n in range(n_inboxes)),
        *(Actor(Role.ROUTER, 0, n) for n in range(n_inboxes)),
        *(Actor(Role.RECEIVER, 0, n) for n in range(n_outboxes)),
        *(Actor(Role.OUTBOX, 0, n) for n in range(n_outboxes)),
        Actor(Role.SEQUENCER, 0, 0),
        Actor(Role.LOG, 0, 0),
    ]


def sign_roster(
    keys: KeyRing, rosters: Sequence[Signed], valid_from_epoch: int, shape: tuple[int, int], parameters: Parameters
) -> Signed:
    """The roster after `rosters`. `shape`: inboxes, outboxes. Actors that go on keep their keys and lanes, but outboxes
    only if their number stays: else an outbox could be given back a mailbox with another's lies in it, under one key.

    All others begin as a new incarnation with a new key, and a new inbox with a lane that nobody had. Raises
    KeyMissing when the root key is kept elsewhere, NoiseError when the one at hand is another provider's.
    """
    outboxes = actors_of(ROSTER.decode(rosters[-1].body), Role.OUTBOX) if rosters else []
    renewed = [actor.encode() for actor in outboxes if len(outboxes) != shape[1]]
    return _sign(keys, rosters, valid_from_epoch, actors_of_shape(*shape), parameters, renewed, ())


def rotate_keys(keys: KeyRing, rosters: Sequence[Signed], valid_from_epoch: int, actors: Collection[Actor]) -> Signed:
    """The roster in which these actors go on as new incarnations, with new keys. Raises like `sign_roster`."""
    current = ROSTER.decode(rosters[-1].body)
    renewed = [_named(current, actor) for actor in actors]
    return _sign(keys, rosters, valid_from_epoch, _actors_of(current), current.parameters, renewed, ())


def recover_actors(
    keys: KeyRing, rosters: Sequence[Signed], valid_from_epoch: int, actors: Collection[Actor]
) -> Signed:
    """The roster in which these actors, whose state is lost, begin anew: new keys, and inboxes in lanes of their own.

    Raises like `sign_roster`.
    """
    current = ROSTER.decode(rosters[-1].body)
    lost = [_named(current, actor) for actor in actors]
    return _sign(keys, rosters, valid_from_epoch, _actors_of(current), current.parameters, lost, lost)


def delete_ended_keys(keys: KeyRing, rosters: Sequence[Signed]) -> list[str]:
    """Delete the private keys of all incarnations that the last roster does not name. Returns those that were there.

    Only once that roster is durable, and no epoch is to be ended under another one.
    """
    decoded = [ROSTER.decode(signed.body) for signed in rosters]
    named = {(entry.actor, entry.incarnation) for entry in decoded[-1].actors}
    ended = {(e.actor, e.incarnation) for roster in decoded[:-1] for e in roster.actors} - named
    names = [actor_key_name(parse_actor(actor), incarnation) for actor, incarnation in sorted(ended)]
    return [name for name in names if keys.delete(name)]


def _actors_of(roster: Roster) -> list[Actor]:
    return [parse_actor(entry.actor) for entry in roster.actors]


def _named(roster: Roster, actor: Actor) -> bytes:
    """Raises SignatureError when the roster names no such actor."""
    return roster.entry(actor).actor


def _sign(
    keys: KeyRing,
    rosters: Sequence[Signed],
    valid_from_epoch: int,
    actors: Sequence[Actor],
    parameters: Parameters,
    renewed: Collection[bytes],
    lost: Collection[bytes],
) -> Signed:
    root = keys.load(ROOT_KEY)
    decoded = [ROSTER.decode(signed.body) for signed in rosters]
    before = decoded[-1] if decoded else None
    if before and before.root_key != root.public_key:
        raise NoiseError("the file of the root key holds another provider's: nobody would believe", code="key-foreign")
    origin = origin_of(root.public_key)
    roster = Roster(
        origin,
        before.version + 1 if before else 1,
        hash_roster(rosters[-1].body) if rosters else bytes(32),
        valid_from_epoch,
        root.public_key,
        log_name_of(origin),
        _entries(keys, decoded, actors, renewed),
        _lanes(decoded, actors, lost),
        parameters,
    )
    return root.sign("roster", origin, ROSTER.encode(roster))


def _entries(
    keys: KeyRing, rosters: Sequence[Roster], actors: Sequence[Actor], renewed: Collection[bytes]
) -> tuple[RosterEntry, ...]:
    """A key that a crash left without a roster is taken up again.

    Outboxes count incarnations together: the first is that of those alone that never took over a mailbox.
    """
    going_on = {entry.actor: entry for entry in rosters[-1].actors} if rosters else {}
    highest: dict[bytes, int] = {}
    for entry in (entry for roster in rosters for entry in roster.actors):
        highest[entry.actor] = max(highest.get(entry.actor, 0), entry.incarnation)
    entries = []
    for actor in actors:
        name = actor.encode()
        if name in going_on and name not in renewed:
            entries.append(going_on[name])
            continue
        taken = [n for one, n in highest.items() if one == name or one[0] == actor.role == Role.OUTBOX]
        incarnation = max(taken, default=FIRST_INCARNATION - 1) + 1
        file = actor_key_name(actor, incarnation)
        signer = keys.load(file) if keys.exists(file) else keys.create(file)
        entries.append(RosterEntry(name, incarnation, SUITE_ED25519, signer.public_key))
    return tuple(entries)


def _lanes(rosters: Sequence[Roster], actors: Sequence[Actor], lost: Collection[bytes]) -> tuple[Lane, ...]:
    """A lane is of one inbox only, as long as it keeps its state. Raises NoiseError when there are no more."""
    kept = {one.inbox: one.lane for one in rosters[-1].lanes} if rosters else {}
    fresh = max((one.lane for roster in rosters for one in roster.lanes), default=-1) + 1
    lanes = []
    for inbox in (actor.encode() for actor in actors if actor.role is Role.INBOX):
        if inbox in kept and inbox not in lost:
            lanes.append(Lane(kept[inbox], inbox))
            continue
        lanes.append(Lane(fresh, inbox))
        fresh += 1
    if fresh > LANES_EVER_MAX:
        raise NoiseError(f"a provider has {LANES_EVER_MAX} lanes in its life, and they are used up", code="lanes-ended")
    return tuple(sorted(lanes))
