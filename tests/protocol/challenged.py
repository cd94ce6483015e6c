"""A log of empty epochs with challenges in it, and what shows them, signed by the keys of `tests.vectors.cast`.

Knows nothing of what is verified.
"""

from typing import Any

from noise.protocol.challenges import (
    CHALLENGE,
    CHALLENGE_RECEIPT,
    CHALLENGE_STATE,
    NO_ANSWER,
    Challenge,
    ChallengeReceipt,
    ChallengeState,
    SignedChallengeReceipt,
    hash_challenge,
)
from noise.protocol.checkpoint import Checkpoint, sign_checkpoint
from noise.protocol.delta import OtherLeaf, SignedRoster
from noise.protocol.evidence.challenges import SuppressedChallenge, UnansweredChallenge
from noise.protocol.evidence.openings import LogOpening
from noise.protocol.evidence.rosters import Rosters
from noise.protocol.identifiers import NO_EPOCH, Actor, Role, make_seq
from noise.protocol.merkle import EMPTY_ROOT, Tree, leaf_hash, tree_root
from noise.protocol.placement import place_mailbox
from noise.protocol.signing import SUITE_ED25519, Signer
from noise.protocol.state_map import StateMap
from noise.protocol.statements import (
    EPOCH_RECORD,
    NO_OVERRIDES,
    EpochRecord,
    Lane,
    Parameters,
    Roster,
    RosterEntry,
    hash_roster,
)
from tests.vectors.cast import CREATED_MS, LOG, LOG_NAME, ORIGIN, ROOT, actor_key, device_of, sign_roster

BOB = device_of("bob")
LOG_ACTOR = Actor(Role.LOG, 0, 0)
CUSTODY, PATIENCE = 20, 4
"""In epochs: how long actors keep things, and how long they have for an answer."""


def roster_of(
    version: int = 1,
    *,
    n_inboxes: int = 2,
    n_outboxes: int = 2,
    first_lane: int = 0,
    custody: int = CUSTODY,
    patience: int = PATIENCE,
    valid_from: int = 0,
) -> Roster:
    """Lanes are numbered from `first_lane` on, which need not be the inboxes' numbers."""
    numbers = {Role.INBOX: n_inboxes, Role.ROUTER: n_inboxes, Role.RECEIVER: n_outboxes, Role.OUTBOX: n_outboxes}
    actors = [Actor(role, 0, n) for role in Role for n in range(numbers.get(role, 1))]
    entries = tuple(RosterEntry(a.encode(), 0, SUITE_ED25519, actor_key(a).public_key) for a in actors)
    lanes = tuple(Lane(first_lane + n, Actor(Role.INBOX, 0, n).encode()) for n in range(n_inboxes))
    parameters = Parameters(20, 1000, 15_000, custody, patience)
    return Roster(ORIGIN, version, bytes(32), valid_from, ROOT.public_key, LOG_NAME, entries, lanes, parameters)


def way_of(roster: Roster, lane: int, mailbox: bytes) -> list[Actor]:
    """Inbox, router, receiver, outbox; written down once more."""
    number = next(n for n, one in enumerate(roster.lanes) if one.lane == lane)
    outbox = place_mailbox(roster, mailbox).number
    return [
        Actor(Role.INBOX, 0, number),
        Actor(Role.ROUTER, 0, number),
        Actor(Role.RECEIVER, 0, outbox),
        Actor(Role.OUTBOX, 0, outbox),
    ]


def ask(actor: Actor, epoch: int, lane: int = 0, mailbox: bytes = BOB, /, **changes: Any) -> bytes:
    """A challenge about the first message of a lane."""
    challenge = Challenge(ORIGIN, actor.encode(), 0, epoch, make_seq(epoch, lane, 0), mailbox)
    return CHALLENGE.encode(challenge._replace(**changes))


def opened_in(epoch: int, **changes: Any) -> ChallengeState:
    return ChallengeState(epoch, epoch + PATIENCE, NO_EPOCH, NO_ANSWER)._replace(**changes)


class Ledger:
    """The log. `maps`: of challenges, after each epoch."""

    def __init__(self, roster: Roster | None = None) -> None:
        self.rosters: list[Roster] = []
        self.records: list[bytes] = []
        self.maps: list[StateMap[bytes]] = []
        self.change_roster(roster or roster_of())

    def change_roster(self, roster: Roster) -> None:
        self.rosters.append(roster)
        self._signed = [SignedRoster(*sign_roster(one)) for one in self.rosters]

    @property
    def signed_rosters(self) -> list[SignedRoster]:
        return self._signed

    def verified(self) -> Rosters:
        return Rosters(ORIGIN, self._signed)

    def commit(self, states: dict[bytes, ChallengeState] | None = None, **changes: Any) -> int:
        """One more epoch, in which these challenges change. `changes`: to its record."""
        before = self.maps[-1] if self.maps else StateMap[bytes].empty()
        encoded = {hash_challenge(c): CHALLENGE_STATE.encode(state) for c, state in (states or {}).items()}
        self.maps.append(before.update([(key, hash_challenge(state), state) for key, state in encoded.items()]))
        epoch, log = len(self.records), [leaf_hash(record) for record in self.records]
        record = EpochRecord(
            *(epoch, tree_root(log), CREATED_MS + epoch, hash_roster(self._signed[-1].body), NO_OVERRIDES, 0),
            *(EMPTY_ROOT, len(self.rosters[-1].signers()), self.maps[-1].root_hash, self.maps[-1].count, 0),
        )
        self.records.append(EPOCH_RECORD.encode(record._replace(**changes)))
        return epoch

    def opening(self, place: int, size: int | None = None, signer: Signer = LOG) -> LogOpening:
        """Record `place` in the log of `size` records."""
        leaves = [leaf_hash(record) for record in self.records][:size]
        note = sign_checkpoint(signer, Checkpoint(LOG_NAME, len(leaves), tree_root(leaves)))
        return LogOpening(note, place, self.records[place], tuple(Tree(leaves).inclusion(place)))

    def unanswered(self, challenge: bytes, epoch: int, asked: int, state: ChallengeState) -> UnansweredChallenge:
        """As whoever asked would show it from the record of an epoch; `asked`: another one."""
        path = self.maps[epoch].prove(hash_challenge(challenge)).siblings
        encoded = CHALLENGE_STATE.encode(state)
        return UnansweredChallenge(self.opening(epoch), self.opening(asked), challenge, encoded, path)

    def suppressed(self, receipt: SignedChallengeReceipt, epoch: int) -> SuppressedChallenge:
        """The receipt, against the record of an epoch."""
        proof = self.maps[epoch].prove(CHALLENGE_RECEIPT.decode(receipt.body).challenge_hash)
        other = OtherLeaf(*proof.other) if proof.other else None
        return SuppressedChallenge(receipt, self.opening(epoch), proof.siblings, other)


def sign_receipt(
    challenge: bytes, by_epoch: int, signer: Signer | None = None, label: str = "challenge", /, **changes: Any
) -> SignedChallengeReceipt:
    """The log's receipt for a challenge; `changes`: to its body."""
    receipt = ChallengeReceipt(ORIGIN, LOG_ACTOR.encode(), 0, hash_challenge(challenge), by_epoch)
    body = CHALLENGE_RECEIPT.encode(receipt._replace(**changes))
    return SignedChallengeReceipt(*(signer or LOG).sign(label, ORIGIN, body))
