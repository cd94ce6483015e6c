"""The verified rosters of a proof: whose keys count, and which of them were needed.

Knows nothing of what was signed.
"""

from collections.abc import Sequence

from noise.protocol.checkpoint import key_id, parse_checkpoint
from noise.protocol.delta import SignedRoster
from noise.protocol.errors import SignatureError
from noise.protocol.evidence.verdict import NotProven
from noise.protocol.identifiers import Actor, Role
from noise.protocol.placement import Rendezvous, actors_of
from noise.protocol.signing import Signed, verify_raw, verify_strict
from noise.protocol.statements import Roster, hash_roster, open_roster


class Rosters:
    """The verified rosters of a proof. `used`: those that anything was checked against, by hash."""

    __slots__ = ("_by_hash", "_places", "origin", "used")

    def __init__(self, origin: bytes, signed: Sequence[SignedRoster]) -> None:
        """Raises DecodeError or SignatureError: one that is not the origin's spoils all."""
        self.origin = origin
        self._by_hash = {hash_roster(one.body): open_roster(Signed(*one), origin) for one in signed}
        self.used: set[bytes] = set()
        self._places: dict[bytes, Rendezvous] = {}

    def get(self, roster_hash: bytes) -> Roster:
        """The roster with this hash. Raises NotProven."""
        roster = self._by_hash.get(roster_hash)
        if roster is None:
            raise NotProven("a roster is missing")
        self.used.add(roster_hash)
        return roster

    def find(self, roster_hash: bytes, epoch: int) -> Roster:
        """The roster with this hash, which may bind `epoch`. Raises NotProven."""
        roster = self.get(roster_hash)
        if roster.valid_from_epoch > epoch:
            raise NotProven("the roster binds later epochs only")
        return roster

    def in_force(self, epoch: int) -> Roster:
        """The newest of those that bind `epoch`. Raises NotProven."""
        return self._by_hash[self.hash_in_force(epoch)]

    def hash_in_force(self, epoch: int) -> bytes:
        """Of the newest of those that bind `epoch`. Raises NotProven."""
        found = [(one.version, by) for by, one in self._by_hash.items() if one.valid_from_epoch <= epoch]
        if not found:
            raise NotProven(f"no roster binds epoch {epoch}")
        newest = max(found)[1]
        self.used.add(newest)
        return newest

    def check_in_force(self, epoch: int, others: "Rosters") -> None:
        """`others`, of which one was in force in `epoch` or later, tell of no roster for `epoch` that is not here.

        Either none of theirs is newer, or the next after the one in force here is here: it binds later epochs only.
        Raises NotProven.
        """
        in_force = self.hash_in_force(epoch)
        newer = [one for one in others._by_hash.values() if one.version > self._by_hash[in_force].version]
        following = [by for by, one in self._by_hash.items() if one.previous == in_force]
        if newer and not following:
            raise NotProven(f"the roster in force in epoch {epoch} is missing")
        self.used.update(following if newer else ())

    def place(self, roster_hash: bytes, mailbox: bytes) -> Actor:
        """The outbox that keeps a mailbox, by a roster that is here: many views ask for the same."""
        if roster_hash not in self._places:
            self._places[roster_hash] = Rendezvous(actors_of(self._by_hash[roster_hash], Role.OUTBOX))
        return self._places[roster_hash].actor(mailbox)

    def log_key(self, note: bytes) -> bytes:
        """The log key of one of the rosters, by which a checkpoint note verifies. Raises DecodeError or NotProven."""
        checkpoint, text, hint, signature = parse_checkpoint(note)
        for roster_hash, roster in self._by_hash.items():
            key = roster.entry(Actor(Role.LOG, 0, 0)).key
            if roster.valid_from_epoch >= checkpoint.size or hint != key_id(checkpoint.log_name, key):
                continue
            try:
                verify_raw(key, signature, text)
            except SignatureError:
                continue
            self.used.add(roster_hash)
            return key
        raise NotProven("no log key of these rosters signed the checkpoint")

    def slot_key(self, statements: Sequence[Signed], label: str, actor: Actor, incarnation: int, epoch: int) -> bytes:
        """The key that this incarnation of an actor has in one of the rosters, and that signed all of the statements.

        Raises NotProven.
        """
        for roster_hash, roster in self._by_hash.items():
            try:
                entry = roster.entry(actor)
                if entry.incarnation != incarnation or roster.valid_from_epoch > epoch:
                    continue
                for signed in statements:
                    verify_strict(entry.key, signed.signature, label, self.origin, signed.body)
            except SignatureError:
                continue
            self.used.add(roster_hash)
            return entry.key
        raise NotProven(f"no key of {actor} in these rosters signed both")
