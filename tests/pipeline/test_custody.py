"""What the actors of a real pipeline answer: each for itself, all together without a contradiction, or nothing at all.

Knows nothing of lies: the provider here is honest, and its disks are not.
"""

import copy
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import trio

from noise.node import Node
from noise.pipeline.custody import CustodyDesk
from noise.pipeline.kept import KeptPart
from noise.pipeline.kept_messages import Messages, content_of
from noise.protocol.delta import SignedRoster
from noise.protocol.envelope import Bundle
from noise.protocol.errors import DecodeError
from noise.protocol.evidence.messages import Conflict
from noise.protocol.evidence.openings import CommittedLeaf
from noise.protocol.evidence.rosters import Rosters
from noise.protocol.evidence.stage_views import CUSTODY_ANSWER, CustodyAnswer, Question
from noise.protocol.evidence.walk import Shown, find_lies, find_silent, open_shown
from noise.protocol.frames import Receipt
from noise.protocol.identifiers import Actor, Role, device_id_of, make_seq, make_seqs, parse_actor, parse_seq
from noise.protocol.signing import SIGNED, Signed
from noise.protocol.stages import way_of
from noise.protocol.statements import EPOCH_RECORD, ROSTER, Roster, hash_roster, message_leaves
from noise.rosters import rotate_keys
from noise.store import custody_memory
from noise.store.base import Store, StoreCorrupt
from noise.store.custody import Custody, CustodyRow
from noise.store.custody_memory import MemoryCustody
from noise.store.memory import MemoryStore, Surviving
from tests.pipeline.harness import Answers, signer, workload
from tests.pipeline.memory_provider import Keys, first_store, running_on, shaped

TEST_SECONDS = 60
DEVICES = 6
STRANGER = bytes(range(32))
NO_CASE = Conflict(CommittedLeaf(None, None), CommittedLeaf(None, None))


class Asked(NamedTuple):
    """A question, and the leaf that every stage should show; None: none of them has anything there."""

    question: Question
    leaf: bytes | None


class Life:
    """A provider that was opened once or several times, with all that was asked of it by then."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.keys = Keys(directory / "keys", 2, 3)
        self.store = MemoryStore()
        self.custody = MemoryCustody()
        self.asked: list[Asked] = []
        self.bundles = workload(self.keys.origin, 11, DEVICES, 40)

    @asynccontextmanager
    async def run(self, shape: tuple[int, int], n_bundles: int) -> AsyncIterator[Node]:
        """Serve the next bundles, two an epoch, in a run with this shape."""
        self.store, self.custody = self.store.reopen(), self.custody.reopen()
        async with running_on(self.store, self.keys, shaped(self.directory, *shape), self.custody) as node:
            for _ in range(n_bundles // 2):
                answers, bundles = Answers(), [self.bundles.pop(0) for _ in range(2)]
                for n, bundle in enumerate(bundles):
                    await answers.submit(node, n, bundle.encode())
                await answers.wait_shown(node, 2)
                for n, bundle in enumerate(bundles):
                    [receipt] = answers[n]
                    assert isinstance(receipt, Receipt)
                    self.asked += questions_about(bundle, receipt)
            yield node

    def rosters(self) -> list[SignedRoster]:
        rows = sorted(self.store._kept.rosters.values())
        return [SignedRoster(*SIGNED.decode(row.body_and_signature)) for row in rows]

    def roster_of(self, question: Question) -> Roster:
        record = EPOCH_RECORD.decode(self.store._kept.epochs[parse_seq(question.seq)[0]].record)
        [found] = [one for one in self.rosters() if hash_roster(one.body) == record.roster_hash]
        return ROSTER.decode(found.body)

    def way(self, question: Question) -> list[Actor]:
        return way_of(self.roster_of(question), *question)


def questions_about(bundle: Bundle, receipt: Receipt) -> list[Asked]:
    """About every message of a bundle: for each of its recipients, for one who is none, and for nobody's mailbox."""
    epoch, lane, first_pos = parse_seq(receipt.first_seq)
    seqs = make_seqs(epoch, lane, first_pos, bundle.count)
    asked = []
    for seq, row, leaf in zip(seqs, bundle.rows, message_leaves(bundle, seqs), strict=True):
        members = bundle.recipients[row[0]].device_ids
        others = [one for one in (device_id_of(signer(n + 1).public_key) for n in range(DEVICES)) if one not in members]
        asked += [Asked(Question(seq, mailbox), leaf) for mailbox in members]
        asked += [Asked(Question(seq, mailbox), None) for mailbox in (*others[:1], STRANGER)]
    end = make_seq(epoch, lane, first_pos + 10_000)
    return [*asked, Asked(Question(end, bundle.sender), None)]


@pytest.fixture
async def life(tmp_path: Path) -> Life:
    life = Life(tmp_path)
    life.store = await first_store(life.keys)
    return life


def desk_of(node: Node) -> CustodyDesk:
    """As of now, whatever is committed later."""
    return desks_of(node)(node.store, node.custody)


def desks_of(node: Node) -> Callable[[Store, Custody], CustodyDesk]:
    """Desks over any disks, as of now, whatever is committed later: what they answer can be compared."""
    view, log = node.pipeline.fanout.view, node.pipeline.sequencer.log
    return lambda store, custody: CustodyDesk(store, custody, node.rosters, log, lambda: view)


def leaves_of(shown: Shown) -> list[list[bytes | None]]:
    """By stage, what each view of it has."""
    return [
        [one.leaf for one in shown.manifests.values()],
        [one.leaf for one in shown.routes.values()],
        [one.leaf for one in shown.merges.values()],
        [one.leaf for one in shown.histories.values()],
    ]


async def check_way(life: Life, desk: CustodyDesk, asked: Asked) -> Shown:
    """Every actor on the way answers, each answer verifies alone, and together they tell one story, the true one."""
    answers: list[CustodyAnswer] = []
    way = life.way(asked.question)
    for actor in way:
        answer = await desk.answer(actor, asked.question)
        assert answer is not None
        assert CUSTODY_ANSWER.decode(CUSTODY_ANSWER.encode(answer)) == answer
        assert (answer.question, [one.actor for one in answer.stages]) == (asked.question, [actor.encode()])
        [stage] = answer.stages
        alone = open_shown(Rosters(life.keys.origin, answer.rosters), asked.question, [stage])
        wanted = {Role.INBOX: "1000", Role.ROUTER: "1100", Role.RECEIVER: "0110", Role.OUTBOX: "0011"}[actor.role]
        assert "".join(str(len(leaves)) for leaves in leaves_of(alone)) == wanted
        answers.append(answer)
    rosters = Rosters(life.keys.origin, sorted({one for answer in answers for one in answer.rosters}))
    shown = open_shown(rosters, asked.question, [stage for answer in answers for stage in answer.stages])
    assert leaves_of(shown) == [[asked.leaf]] * 4
    assert list(find_lies([shown], NO_CASE)) == []
    assert find_silent(rosters, shown) is None
    return shown


async def test_every_question(life: Life) -> None:
    """About every message and mailbox, and about what never was, each actor answers and nobody is named."""
    with trio.fail_after(TEST_SECONDS):
        async with life.run((2, 3), 8) as node:
            desk = desk_of(node)
            for asked in life.asked:
                await check_way(life, desk, asked)
            ways = {tuple(life.way(asked.question)) for asked in life.asked}
            assert len(ways) > 4
            assert sum(asked.leaf is None for asked in life.asked) > 15


async def test_whoever_was_not_on_the_way(life: Life) -> None:
    """Actors of another lane or outbox, the sequencer and the log have nothing to say. Of no lane receiver and outbox
    can say that they have nothing."""
    with trio.fail_after(TEST_SECONDS):
        async with life.run((2, 3), 4) as node:
            desk = desk_of(node)
            everybody = [parse_actor(entry.actor) for entry in ROSTER.decode(node.rosters[-1].body).actors]
            for asked in life.asked[::5]:
                others = [actor for actor in everybody if actor not in life.way(asked.question)]
                assert len(others) == len(everybody) - 4
                for actor in [*others, Actor(Role.INBOX, 0, 9), Actor(Role.OUTBOX, 0, 9)]:
                    assert await desk.answer(actor, asked.question) is None
            epoch = parse_seq(life.asked[0].question.seq)[0]
            nowhere = Question(make_seq(epoch, 7, 0), STRANGER)
            for actor in everybody:
                answer = await desk.answer(actor, nowhere)
                assert (answer is None) == (actor not in life.way(nowhere)), actor
                if answer is not None:
                    shown = open_shown(Rosters(life.keys.origin, answer.rosters), nowhere, answer.stages)
                    assert {leaf for leaves in leaves_of(shown) for leaf in leaves} == {None}
                    assert leaves_of(shown)[2], "what it merged, it shows"
                assert await desk.answer(actor, Question(make_seq(epoch + 10_000, 0, 0), STRANGER)) is None
            with pytest.raises(DecodeError):
                await desk.answer(everybody[0], Question(b"short", STRANGER))


class OwnRows(Custody):
    """The rows of one actor. Whoever asks for another's fails the test."""

    def __init__(self, rows: Custody, owner: Actor) -> None:
        self._rows = rows
        self._owner = owner.encode()

    def last_epoch(self, actor: bytes) -> int:
        assert actor == self._owner
        return self._rows.last_epoch(actor)

    async def keep(self, rows: Sequence[CustodyRow], prune_before: int) -> None:
        raise AssertionError("a desk keeps nothing")

    async def find(self, actor: bytes, incarnation: int, epoch: int) -> CustodyRow | None:
        assert actor == self._owner
        return await self._rows.find(actor, incarnation, epoch)


async def test_own_rows_suffice(life: Life) -> None:
    """An actor whose rows are kept apart answers the same, and never asks for another's."""
    with trio.fail_after(TEST_SECONDS):
        async with life.run((2, 3), 4) as node:
            make_desk = desks_of(node)
            desk = make_desk(node.store, node.custody)
            for asked in life.asked[::3]:
                for actor in life.way(asked.question):
                    apart = make_desk(node.store, OwnRows(node.custody, actor))
                    answer = await apart.answer(actor, asked.question)
                    assert answer is not None
                    assert answer == await desk.answer(actor, asked.question)


async def test_many_at_once(life: Life) -> None:
    """Whoever asks while another's answer is made gets the same one."""
    answers: dict[tuple[int, Actor], CustodyAnswer | None] = {}

    async def ask(desk: CustodyDesk, n: int, actor: Actor, question: Question) -> None:
        answers[n, actor] = await desk.answer(actor, question)

    with trio.fail_after(TEST_SECONDS):
        async with life.run((2, 3), 4) as node:
            desk, chosen = desk_of(node), life.asked[::6]
            async with trio.open_nursery() as nursery:
                for n, asked in enumerate(chosen):
                    for actor in life.way(asked.question):
                        nursery.start_soon(ask, desk, n, actor, asked.question)
            for (n, actor), answer in answers.items():
                assert answer == await desk.answer(actor, chosen[n].question)


async def test_pruned_or_lost_rows(life: Life) -> None:
    """An actor without its row says nothing; those whose rows are there go on answering."""
    with trio.fail_after(TEST_SECONDS):
        async with life.run((2, 3), 4) as node:
            question = life.asked[0].question
            way = life.way(question)
            for silent in way:
                custody = MemoryCustody()
                custody._kept = copy.deepcopy(life.custody._kept)
                for slot in [slot for slot in custody._kept.rows if slot[1] == silent.encode()]:
                    del custody._kept.rows[slot]
                desk = desks_of(node)(node.store, custody)
                assert [await desk.answer(actor, question) is None for actor in way] == [a == silent for a in way]


async def test_keys_and_shapes_of_before(life: Life) -> None:
    """After other shapes and new keys, all that was ever asked is answered by those who were on the way, as then."""
    with trio.fail_after(TEST_SECONDS):
        for shape in ((2, 3), (3, 2), (1, 3)):
            async with life.run(shape, 6) as node:
                await check_all(life, node)
        for renewed in ([Actor(Role.OUTBOX, 0, 0), Actor(Role.INBOX, 0, 0)], None):
            rosters = [Signed(*one) for one in life.rosters()]
            named = [parse_actor(entry.actor) for entry in ROSTER.decode(rosters[-1].body).actors]
            rosters.append(rotate_keys(life.keys.ring, rosters, life.store.next_epoch, renewed or named))
            store = life.store.reopen()
            await store.add_roster(len(rosters), SIGNED.encode(rosters[-1]))
            life.store = store
            async with life.run((1, 3), 4) as node:
                await check_all(life, node)
        assert len(life.rosters()) == 5
        async with life.run((1, 3), 2) as node:
            statements = life.store._kept.statements
            for row in list(statements.values()):  # as of one that was lost, and whose epoch another one ended
                lost = row._replace(incarnation=99)
                statements[lost[:3]] = lost
            await check_all(life, node)


async def check_all(life: Life, node: Node) -> None:
    """Questions of all runs so far."""
    desk = desk_of(node)
    for asked in life.asked[::13]:
        await check_way(life, desk, asked)


async def test_shortened_history(life: Life) -> None:
    """An outbox that finds fewer records of a mailbox than its state has says so."""
    with trio.fail_after(TEST_SECONDS):
        async with life.run((2, 3), 6) as node:
            desk, history = desk_of(node), life.store._kept.history
            mailbox = max(history)[1]
            last = max(key for key in history if key[1] == mailbox)
            seqs = {asked.question.seq for asked in life.asked}
            question = Question(next(seq for seq in seqs if parse_seq(seq)[0] == last[0]), mailbox)
            outbox = life.way(question)[3]
            assert await desk.answer(outbox, question) is not None
            assert history[last].prev_epoch >= 0
            history[last] = history[last]._replace(prev_epoch=-1)
            with pytest.raises(StoreCorrupt, match="missing"):
                await desk.answer(outbox, question)


def test_parts_beyond_their_bundle() -> None:
    """A part that names a message which its bundle has not is damage."""
    messages = {1: Messages([b"leaf"], [])}
    assert content_of([KeptPart(1, (0,), (STRANGER,))], messages) == {STRANGER: [b"leaf"]}
    with pytest.raises(StoreCorrupt):
        content_of([KeptPart(1, (0, 1), (STRANGER,))], messages)


def flipped(data: bytes, rng: random.Random) -> bytes:
    """With another bit, byte or end."""
    if not data or rng.random() < 0.2:
        return data + bytes([rng.randrange(256)])
    if rng.random() < 0.2:
        return data[: rng.randrange(len(data))]
    place = rng.randrange(len(data))
    return data[:place] + bytes([data[place] ^ 1 << rng.randrange(8)]) + data[place + 1 :]


def damage_custody(kept: custody_memory.Surviving, rng: random.Random, epoch: int, actor: Actor) -> None:
    """The actor's row of an epoch, changed or in another's place."""
    [slot] = [slot for slot in kept.rows if slot[:2] == (epoch, actor.encode())]
    row = kept.rows[slot]
    other = kept.rows[rng.choice(sorted(one for one in kept.rows if one[1] == slot[1]))]
    stranger = kept.rows[rng.choice(sorted(kept.rows))]
    statement = row.statement
    kept.rows[slot] = rng.choice(
        [
            row._replace(batch=flipped(row.batch, rng)),
            row._replace(batch=other.batch),
            row._replace(batch=stranger.batch),
            row._replace(statement=statement._replace(body=flipped(statement.body, rng))),
            row._replace(statement=statement._replace(signature=flipped(statement.signature, rng))),
            row._replace(statement=stranger.statement),
            other,
            stranger,
        ]
    )


def damage_store(kept: Surviving, rng: random.Random, epoch: int, _: Actor) -> None:
    """A row of what actors were given in an epoch, changed, lost or in another's place."""
    tables: list[tuple[dict[Any, Any], str]] = [
        (kept.statements, "body"),
        (kept.statements, "signature"),
        (kept.bundles, "body"),
        (kept.history, "record"),
        (kept.history, "picks"),
        (kept.history, "prev_epoch"),
        (kept.manifests, ""),
    ]
    rows, field = rng.choice(tables)
    victims = sorted(key for key, row in rows.items() if row.epoch == epoch)
    if not victims:  # an idle epoch has no bundles
        return
    victim = rng.choice(victims)
    kind = rng.choice(["change", "swap", "lose"]) if field else rng.choice(["swap", "lose"])
    if field == "prev_epoch":
        rows[victim] = rows[victim]._replace(prev_epoch=rng.randrange(-1, epoch + 2))
    elif kind == "change":
        rows[victim] = rows[victim]._replace(**{field: flipped(getattr(rows[victim], field), rng)})
    elif kind == "swap":
        rows[victim] = rows[rng.choice(sorted(rows))]
        if rows is kept.history:  # whose keys are columns
            rows[victim] = rows[victim]._replace(epoch=victim[0], mailbox=victim[1])
    else:
        del rows[victim]
        if rows is kept.history:
            kept.history_keys.remove(victim)


@pytest.mark.parametrize("which", ["custody", "store", "past"])
async def test_damage(life: Life, which: str, search_factor: int) -> None:
    """Whatever a disk changed, an actor says the truth or nothing: no other word, and no error without a type.

    "past": in a shape of later, under which the outboxes' old maps are made again from the store.
    """
    rng = random.Random(5)
    damage: Callable[..., None] = damage_custody if which == "custody" else damage_store
    with trio.fail_after(TEST_SECONDS * search_factor):
        async with life.run((2, 3), 6):
            pass
        n_asked = len(life.asked)
        async with life.run((2, 2) if which == "past" else (2, 3), 2) as node:
            make_desk, silences = desks_of(node), 0
            true_desk, last_epoch = make_desk(node.store, node.custody), node.store.next_epoch - 1
            for _ in range(200 * search_factor):
                question = rng.choice(life.asked[:n_asked]).question
                actor = life.way(question)[3] if which == "past" else rng.choice(life.way(question))
                store, custody = MemoryStore(), MemoryCustody()
                store._kept, custody._kept = copy.deepcopy(life.store._kept), copy.deepcopy(life.custody._kept)
                kept = custody._kept if which == "custody" else store._kept
                epoch = parse_seq(question.seq)[0]
                damage(kept, rng, rng.randrange(epoch, last_epoch + 1) if which == "past" else epoch, actor)
                try:
                    answer = await make_desk(store, custody).answer(actor, question)
                except StoreCorrupt:
                    answer = None
                silences += answer is None
                assert answer in (None, await true_desk.answer(actor, question))
            assert silences > 25
