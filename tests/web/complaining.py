"""A provider that is served and has lied, the proof of that, and what whoever has the proof asks for over HTTP.

Must not know: what each test looks for.
"""

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from noise.config import ServeOptions
from noise.protocol.challenges import (
    CHALLENGE,
    SIGNED_CHALLENGE_RECEIPT,
    Challenge,
    SignedChallengeReceipt,
    hash_complaint,
)
from noise.protocol.complaints import (
    CHALLENGE_STATUS,
    COMPLAINT_ANSWER,
    CUSTODY_ANSWERS,
    ChallengeStatus,
    ComplaintAnswer,
)
from noise.protocol.delta import DELTA, SignedRoster
from noise.protocol.encoding import Codec
from noise.protocol.envelope import RecipientSet
from noise.protocol.evidence.absences import Absence
from noise.protocol.evidence.material import open_device, open_shared
from noise.protocol.evidence.messages import Omission
from noise.protocol.evidence.openings import CommittedLeaf, SequencedLeaf
from noise.protocol.evidence.proof import make_proof
from noise.protocol.evidence.stage_views import CustodyAnswer, Question
from noise.protocol.frames import SignedManifest
from noise.protocol.identifiers import Actor, Role, format_id, make_seq, parse_actor, parse_seq
from noise.protocol.log_pages import INCLUSION
from noise.protocol.merkle import leaf_hash, tree_root
from noise.protocol.signing import Signed
from noise.protocol.statements import EPOCH_RECORD, MANIFEST, ROSTER, hash_roster, message_leaves
from noise.store.base import StoreFailed
from noise.store.custody import Custody, CustodyRow
from noise.web.app import create_app
from tests.pipeline.harness import running
from tests.provider import Device, Provider
from tests.web.face import OCTETS, Face
from tests.web.live_http import serving

_STATUS: Codec[ChallengeStatus] = CHALLENGE_STATUS
_SIGNED_RECEIPT: Codec[SignedChallengeReceipt] = SIGNED_CHALLENGE_RECEIPT

INBOX, ROUTER, RECEIVER, OUTBOX = WAY = [Actor(Role(number), 0, 0) for number in (1, 2, 3, 4)]
NOBODY = Device("nobody")


class LossyCustody:
    """What the actors kept, but for some that lost it. `broken`: those whose disks fail. `asked`: who, in order.

    `let_go`: every search waits for it.
    """

    def __init__(self, custody: Custody, mute: Collection[Actor]) -> None:
        self.mute = set(mute)
        self.broken: set[Actor] = set()
        self.asked: list[Actor] = []
        self.let_go = trio.Event()
        self.let_go.set()
        self._custody = custody

    async def find(self, actor: bytes, incarnation: int, epoch: int) -> CustodyRow | None:
        self.asked.append(parse_actor(actor))
        await self.let_go.wait()
        if parse_actor(actor) in self.broken:
            raise StoreFailed("as the test says")
        return None if parse_actor(actor) in self.mute else await self._custody.find(actor, incarnation, epoch)


class Scene:
    """A provider that is served, in one of whose epochs the inbox lied. `proof`: that it did, by nobody's mailbox."""

    def __init__(self, face: Face, custody: LossyCustody) -> None:
        self.face = face
        self.kept = custody
        self._alice = Device("alice")
        self.epoch = -1
        self.proof = b""

    @property
    def rosters(self) -> list[SignedRoster]:
        return self.face.provider.gateway.rosters

    def incarnation_of(self, actor: Actor) -> int:
        return ROSTER.decode(self.rosters[-1].body).entry(actor).incarnation

    @property
    def question(self) -> Question:
        return Question(make_seq(self.epoch, 0, 0), NOBODY.device_id)

    async def lie(self) -> None:
        """A message is delivered; then the inbox signs that another one, to nobody, stood in its place."""
        face = self.face
        receipt = await face.provider.submit(self._alice.write(face.origin, [b"x"], [Device("bob")]))
        self.epoch = parse_seq(receipt.first_seq)[0]
        true, seq = MANIFEST.decode(receipt.manifest.body), self.question.seq
        bundle = Device("mallory").write(face.origin, [b"y"], [NOBODY])
        (leaf,) = message_leaves(bundle, [seq])
        body = MANIFEST.encode(true._replace(n_messages=1, root=tree_root([leaf_hash(leaf)])))
        manifest = SignedManifest(*self.sign(INBOX, "manifest", body))
        roster_hash = hash_roster(self.rosters[-1].body)
        sequenced = SequencedLeaf(manifest, roster_hash, 0, (leaf_hash(leaf),), 0, leaf, ())
        members = RecipientSet(bundle.recipients[0].env_salt, bundle.recipients[0].device_ids)
        recipient = open_device(members, members.device_ids.index(NOBODY.device_id))
        omission = Omission(CommittedLeaf(sequenced, None), recipient, await self.absence())
        self.proof = make_proof(face.origin, self.rosters, omission)

    async def absence(self) -> Absence:
        """The provider's word that nobody's mailbox is empty."""
        face = self.face
        token = await face.log_in(NOBODY)
        delta = DELTA.decode((await face.ask("GET", "/v1/mailbox", Authorization=token)).body)
        epoch = EPOCH_RECORD.decode(delta.shared.record).epoch
        answer = await face.ask("GET", f"/v1/log/inclusion?epoch={epoch}&size={epoch + 1}", Accept=OCTETS)
        log_proof = INCLUSION.decode(answer.body).proof
        state = open_shared(delta.shared, log_proof, NOBODY.device_id, delta.state, delta.path, delta.other)
        return Absence(state, None, None, None)

    def sign(self, actor: Actor, label: str, body: bytes) -> Signed:
        """With an actor's own key, whatever it is."""
        signer = self.face.provider.gateway.pipeline._signer_of(actor, self.incarnation_of(actor))
        return signer.sign(label, self.face.origin, body)

    async def complain(self, proof: bytes = b"") -> ComplaintAnswer:
        answer = await self.face.ask("POST", "/v1/complaints", proof or self.proof, Content_Type=OCTETS)
        assert answer.status == 201, answer
        return COMPLAINT_ANSWER.decode(answer.body)

    async def custody(self, actor: Actor) -> tuple[CustodyAnswer, ...]:
        target = f"/v1/custody/{format_id(hash_complaint(self.proof))}/{actor}"
        answer = await self.face.ask("GET", target)
        assert (answer.status, answer.headers[b"content-type"]) == (200, OCTETS.encode()), answer
        return CUSTODY_ANSWERS.decode(answer.body)

    def challenge(self, actor: Actor) -> bytes:
        incarnation = self.incarnation_of(actor)
        made = Challenge(self.face.origin, actor.encode(), incarnation, self.epoch, *self.question)
        return CHALLENGE.encode(made)

    @property
    def challenges_path(self) -> str:
        return f"/v1/complaints/{format_id(hash_complaint(self.proof))}/challenges"

    async def ask(self, actor: Actor) -> SignedChallengeReceipt:
        """A challenge to an actor, which is in the log then."""
        answer = await self.face.ask("POST", self.challenges_path, self.challenge(actor), Content_Type=OCTETS)
        assert answer.status == 201, answer
        return _SIGNED_RECEIPT.decode(answer.body)

    async def status(self, key: bytes) -> ChallengeStatus:
        """As whoever has the proof sees it."""
        return await self._status(f"{self.challenges_path}/{format_id(key)}")

    async def public_status(self, key: bytes) -> ChallengeStatus:
        """As anybody sees it."""
        return await self._status(f"/v1/challenges/{format_id(key)}")

    async def _status(self, target: str) -> ChallengeStatus:
        answer = await self.face.ask("GET", target, Accept=OCTETS)
        assert answer.status == 200, answer
        return _STATUS.decode(answer.body)

    async def answered(self, key: bytes) -> ChallengeStatus:
        """Once a challenge is."""
        while not (status := await self.status(key)).answer:
            await self.grow(1)
        return status

    async def grow(self, n: int) -> None:
        await self.face.provider.grow_log(self.face.provider.log_size + n)


@asynccontextmanager
async def scene(data: Path, mute: Collection[Actor] = (), *, answer_s: float = 30) -> AsyncIterator[Scene]:
    options = ServeOptions(data / "provider", "127.0.0.1", 0, "parallel", 1, 1, 0, 60_000, 60_000)
    async with running(options._replace(custody_epochs=64, challenge_epochs=8)) as node:
        provider = Provider(node)
        desk: Any = provider.gateway.custody_desk
        desk._custody = LossyCustody(desk._custody, mute)
        async with serving(create_app(provider.gateway, answer_s=answer_s)) as live:
            made = Scene(Face(provider, live), desk._custody)
            await made.lie()
            yield made
