"""Every lie of the zoo really happens, on real sockets: who is shown what, at which seq, and what one client notices.

Knows nothing of evidence: raw followers compare nothing with each other. That two of them, put side by side, contradict
each other is what evidence is made of.
"""

import traceback
from pathlib import Path

import pytest
import trio

from noise.demo.zoo.forgery import Forger
from noise.demo.zoo.lie import Lie
from noise.demo.zoo.lies import FACTS, make_lie
from noise.demo.zoo.provider import impatient, lying_provider
from noise.demo.zoo.shadows import Shadows
from noise.node import check_node
from noise.protocol.checkpoint import parse_checkpoint
from noise.protocol.envelope import Draft, Recipients, RecipientSet, build_bundle
from noise.protocol.identifiers import parse_seq
from noise.store.base import StoreCorrupt
from tests.pipeline.harness import Answers, Mailbox, signer
from tests.pipeline.memory_provider import Keys, first_store, opened, shaped
from tests.zoo.evening import FOUR, HELLO, ONE, THREE, TWO, Evening, evening
from tests.zoo.paging import PageReader
from tests.zoo.watching import party_at

ALL = [HELLO, ONE, TWO, THREE, FOUR]
PATIENT_MS = 20_000

# What Alice, who sends ONE, and Bob, the victim, and Carol, who sends the rest, hear when ONE is lied about.
HEARD: dict[str, tuple[list[bytes], list[bytes], list[bytes]]] = {
    "drop-one": (ALL, [HELLO, TWO, THREE, FOUR], ALL),
    "drop-all-but-sender": (ALL, [HELLO, TWO, THREE, FOUR], [HELLO, TWO, THREE, FOUR]),
    "drop-all": ([HELLO, TWO, THREE, FOUR], [HELLO, TWO, THREE, FOUR], [HELLO, TWO, THREE, FOUR]),
    "other-manifest": ([HELLO, TWO, THREE, FOUR], [HELLO, TWO, THREE, FOUR], [HELLO, TWO, THREE, FOUR]),
    "empty-range": (ALL, [HELLO, FOUR], ALL),
    "misroute": (ALL, [HELLO, TWO, THREE, FOUR], ALL),
    "change-payload": (ALL, [HELLO], ALL),
    "change-recipients": (ALL, [HELLO], ALL),
    "change-sender": (ALL, ALL, ALL),
    "change-ciphertext": (ALL, [HELLO], ALL),
    "garble-payload": (ALL, [HELLO], ALL),
    "garble-recipients": (ALL, [HELLO], ALL),
    "garble-sender": (ALL, [HELLO], ALL),
    "garble-ciphertext": (ALL, [HELLO], ALL),
    "insert": (ALL, [HELLO, ONE, ONE, TWO, THREE, FOUR], ALL),
    "duplicate": (ALL, [HELLO], ALL),
    "replay": (ALL, [HELLO, ONE], ALL),
    "restart-mailbox": (ALL, [HELLO], ALL),
    "resign": (ALL, [HELLO, ONE], ALL),
    "stale": (ALL, [HELLO], ALL),
    "silent": (ALL, [HELLO], ALL),
}
ELSEWHERE = {"swap-order", "swap-seqs", "fork", "rollback"}  # these have tests of their own
TRUTHFUL_STORE = {"garble-payload", "garble-recipients", "garble-sender", "garble-ciphertext"}
TRUTHFUL_STORE |= {"resign", "stale", "silent"}
TRUTHFUL_STORE |= {"other-manifest"}  # what was signed beside it is nowhere but at the sender's
TRUTHFUL_STORE |= {"misroute"}  # the outbox that was given too much keeps it from the store
NEWCOMER_FOOLED = {"restart-mailbox", "resign"}  # these contradict what was shown before


async def talk(made: Evening, lie: Lie) -> None:
    """ONE is lied about, if the lie is about one message; everything else follows in epochs of its own."""
    lie.arm(made.bob.device_id)
    await made.say(made.alice, ONE)
    for text in (TWO, THREE, FOUR):
        await made.say(made.carol, text)
    await made.settle()
    if not lie.facts.name.startswith("s"):
        await made.bob.wait_epoch(parse_seq(made.seqs[FOUR])[0])


def test_every_lie_is_tested() -> None:
    assert set(FACTS) == set(HEARD) | ELSEWHERE


@pytest.mark.parametrize("name", list(HEARD))
async def test_lie_happens(name: str, tmp_path: Path) -> None:
    """The effect, live; then again for the same device from nothing, by pages, pushed and over HTTP."""
    with trio.fail_after(30):
        lie = make_lie(name)
        async with evening(lie, tmp_path / "liar") as made:
            await talk(made, lie)
            heard = tuple(who.texts for who in (made.alice, made.bob, made.carol))
            assert heard == HEARD[name]
            assert (made.alice.refusal, made.bob.refusal, made.carol.refusal) == (None, lie.facts.refusal, None)
            assert lie.told, "it says so itself"
            for who in (made.alice, made.carol):
                assert set(who.heard) <= {(seq, text) for text, seq in made.seqs.items()}
            again = await made.party.join("bob")
            reader = PageReader(made.provider.url, made.provider.origin, made.bob.signer)
            await trio.to_thread.run_sync(reader.read_all)
            if name in NEWCOMER_FOOLED:
                await again.wait_epoch(parse_seq(made.seqs[FOUR])[0])
                assert again.refusal is reader.refusal is None
                assert again.heard == reader.heard
            elif lie.facts.refusal is None:
                assert again.heard == reader.heard == made.bob.heard
            else:
                assert await again.wait_refusal() == reader.refusal == lie.facts.refusal


@pytest.mark.parametrize("name", sorted(set(HEARD) - TRUTHFUL_STORE))
async def test_lie_outlives_a_restart_and_only_fsck_tells(name: str, tmp_path: Path) -> None:
    """What was signed is shown again by the next start, page by page; a replay of the bundles finds it."""
    with trio.fail_after(30):
        lie = make_lie(name)
        async with evening(lie, tmp_path / "liar") as made:
            await talk(made, lie)
            before = made.bob.heard
        async with lying_provider(make_lie(name), tmp_path / "liar") as provider, party_at(provider) as party:
            bob = await party.join("bob")
            if name in NEWCOMER_FOOLED:
                assert bob.texts == [ONE, TWO, THREE, FOUR]
            elif lie.facts.refusal is None:
                assert bob.heard == before
            else:
                assert await bob.wait_refusal() == lie.facts.refusal
        with pytest.raises(StoreCorrupt):
            await check_node(tmp_path / "liar", lambda *_: None, renew_mark=False)


async def test_forged_sender_is_signed_and_stands_where_another_message_does(tmp_path: Path) -> None:
    with trio.fail_after(30):
        lie = make_lie("change-sender")
        async with evening(lie, tmp_path / "liar") as made:
            await talk(made, lie)
            [true] = [d for d in made.alice.deliveries if d.common == ONE]
            [false] = [d for d in made.bob.deliveries if d.common == ONE]
            assert true.seq == false.seq == made.seqs[ONE] == lie.told[0].seq
            assert (true.sender, false.sender) == (made.alice.device_id, Forger().device_id)
            assert set(false.recipients.device_ids) == {*true.recipients.device_ids, Forger().device_id}
            assert true.leaf != false.leaf


async def test_inserted_message_names_recipients_who_never_got_it(tmp_path: Path) -> None:
    with trio.fail_after(30):
        lie = make_lie("insert")
        async with evening(lie, tmp_path / "liar") as made:
            await talk(made, lie)
            [inserted] = [d for d in made.bob.deliveries if d.sender == Forger().device_id]
            assert inserted.seq == lie.told[0].seq > made.seqs[ONE]
            assert {made.alice.device_id, made.carol.device_id} < set(inserted.recipients.device_ids)
            assert inserted.seq not in {seq for seq, _ in made.alice.heard + made.carol.heard}


async def test_other_manifest_is_a_second_one_for_the_slot(tmp_path: Path) -> None:
    """Other messages of the epoch get receipts of the manifest that counts, and move up."""
    with trio.fail_after(30):
        lie = make_lie("other-manifest")
        async with evening(lie, tmp_path / "liar") as made:
            lie.arm(made.bob.device_id)
            made.provider.nodes[0].pipeline.sequencer._last_cut = trio.current_time() + 0.2  # room for two bundles
            lost, kept = made.alice.bundle([ONE, TWO], made.bob), made.carol.bundle([THREE], made.bob)
            await made.alice.submit(lost)
            await made.carol.submit(kept)
            lost_seqs, [kept_seq] = await made.alice.receipt(lost), await made.carol.receipt(kept)
            epoch = parse_seq(kept_seq)[0]
            assert {parse_seq(seq)[0] for seq in lost_seqs} == {epoch}
            ours, theirs = made.alice.manifest(lost), made.carol.manifest(kept)
            assert (ours.epoch, ours.lane, ours.actor) == (theirs.epoch, theirs.lane, theirs.actor)
            assert ours.previous == theirs.previous
            assert (ours.n_messages, theirs.n_messages) == (3, 1)
            assert [parse_seq(seq)[2] for seq in (kept_seq, *lost_seqs)] == [0, 1, 2]
            for who in (made.alice, made.bob, made.carol):
                await who.wait_epoch(epoch)
            assert (made.alice.texts, made.bob.texts) == ([HELLO], [HELLO, THREE])
            after = await made.alice.say(FOUR, made.bob)
            await made.bob.wait_epoch(parse_seq(after)[0])
            assert made.bob.heard[-1] == (after, FOUR)


async def test_resigned_epoch_is_one_size_with_two_roots(tmp_path: Path) -> None:
    with trio.fail_after(30):
        lie = make_lie("resign")
        async with evening(lie, tmp_path / "liar") as made:
            await talk(made, lie)
            refused, trusted = made.bob.refused, made.bob.follower.trusted
            assert refused is not None and trusted.shared is not None
            one, other = parse_checkpoint(refused.shared.note)[0], parse_checkpoint(trusted.shared.note)[0]
            assert one.size == other.size == lie.told[0].epoch + 1
            assert one.root != other.root
            assert refused.shared.head.body != trusted.shared.head.body
            reader = PageReader(made.provider.url, made.provider.origin, made.bob.signer)
            reader.follower.trusted, reader.follower.rosters = trusted, made.bob.follower.rosters
            await trio.to_thread.run_sync(reader.read_all)
            assert reader.refusal == lie.facts.refusal, "over HTTP too"


@pytest.mark.parametrize("name", ["stale", "silent"])
async def test_stale_client_is_told_nothing_new(name: str, tmp_path: Path) -> None:
    """By nobody, on no connection. Its own messages are taken all the same."""
    with trio.fail_after(30):
        lie = make_lie(name)
        async with evening(lie, tmp_path / "liar") as made:
            await talk(made, lie)
            size = made.bob.follower.trusted.log.size
            if name == "stale":
                await made.bob.wait_frames(3)
            frame_count = made.bob.frame_count
            seq = await made.bob.say(b"is anybody there?", made.alice)
            await made.alice.wait_epoch(parse_seq(seq)[0])
            assert made.alice.heard[-1] == (seq, b"is anybody there?")
            assert (
                made.bob.follower.trusted.log.size == size == lie.told[0].epoch < made.alice.follower.trusted.log.size
            )
            assert name == "stale" or made.bob.frame_count == frame_count
            await made.party.reconnect(made.bob)
            assert made.bob.texts == [HELLO]
            assert made.bob.follower.trusted.log.size == size


async def swap(made: Evening, lie: Lie) -> tuple[bytes, bytes]:
    """Alice sends, and Carol many epochs later; the seqs of both."""
    lie.arm(made.bob.device_id)
    one = made.alice.bundle([ONE], made.bob, made.carol)
    two = made.carol.bundle([TWO], made.bob, made.alice)
    await made.alice.submit(one)
    await made.alice.wait_frames(2)  # a heartbeat interval at least
    await made.carol.submit(two)
    [first], [second] = await made.alice.receipt(one), await made.carol.receipt(two)
    assert parse_seq(first)[0] == parse_seq(second)[0], "the liar waits until both are there"
    for who in (made.alice, made.bob, made.carol):
        await who.wait_epoch(parse_seq(first)[0])
    return first, second


async def test_swapped_messages_stand_at_each_others_places(tmp_path: Path) -> None:
    with trio.fail_after(30):
        lie = make_lie("swap-seqs")
        async with evening(lie, tmp_path / "liar", idle_ms=PATIENT_MS) as made:
            first, second = await swap(made, lie)
            true = sorted([(first, ONE), (second, TWO)])
            assert made.alice.heard[1:] == made.carol.heard[1:] == true
            assert made.bob.heard[1:] == sorted([(first, TWO), (second, ONE)])
            assert made.bob.refusal is lie.facts.refusal is None
            assert (await made.party.join("bob")).heard == made.bob.heard


async def test_swapped_order_is_refused(tmp_path: Path) -> None:
    with trio.fail_after(30):
        lie = make_lie("swap-order")
        async with evening(lie, tmp_path / "liar", idle_ms=PATIENT_MS) as made:
            first, second = await swap(made, lie)
            assert made.alice.heard[1:] == sorted([(first, ONE), (second, TWO)])
            assert made.bob.refusal == (await made.party.join("bob")).refusal == lie.facts.refusal
            refused = made.bob.refused
            assert refused is not None
            assert [section.first_seq for section in refused.history[0].sections] == sorted([first, second])[::-1]


async def test_swap_waits_no_longer_than_the_idle_interval(tmp_path: Path) -> None:
    """What never meets another sender's message is delivered in time, as it was sent."""
    with trio.fail_after(30):
        lie = make_lie("swap-seqs")
        async with evening(lie, tmp_path / "liar") as made:
            lie.arm(made.bob.device_id)
            bundles = [made.alice.bundle([text], made.bob, made.carol) for text in (ONE, TWO)]
            for bundle in bundles:
                await made.alice.submit(bundle)
            [first], [second] = [await made.alice.receipt(bundle) for bundle in bundles]
            assert parse_seq(first)[0] == parse_seq(second)[0]
            for who in (made.alice, made.bob):
                await who.wait_epoch(parse_seq(first)[0])
                assert who.heard[1:] == [(first, ONE), (second, TWO)]
            assert not lie.told


async def test_message_that_a_swap_holds_back_survives_a_stop(tmp_path: Path) -> None:
    with trio.fail_after(30):
        lie = make_lie("swap-seqs")
        async with evening(lie, tmp_path / "liar", idle_ms=PATIENT_MS) as made:
            lie.arm(made.bob.device_id)
            await made.alice.submit(made.alice.bundle([ONE], made.bob, made.carol))
            await made.alice.wait_frames(2)
            assert made.alice.texts == [HELLO]
        async with lying_provider(None, tmp_path / "liar") as provider, party_at(provider) as party:
            assert (await party.join("bob")).texts == [HELLO, ONE]


async def test_one_message_of_a_bundle_is_lied_about_and_the_others_arrive(tmp_path: Path) -> None:
    with trio.fail_after(30):
        lie = make_lie("drop-one")
        async with evening(lie, tmp_path / "liar") as made:
            lie.arm(made.bob.device_id, after=1)
            bundle = made.alice.bundle([ONE, TWO, THREE], made.bob, made.carol)
            await made.alice.submit(bundle)
            seqs = await made.alice.receipt(bundle)
            for who in (made.alice, made.bob, made.carol):
                await who.wait_epoch(parse_seq(seqs[0])[0])
            assert made.carol.heard[1:] == list(zip(seqs, [ONE, TWO, THREE], strict=True))
            assert made.bob.heard[1:] == [(seqs[0], ONE), (seqs[2], THREE)]
            assert lie.told[0].seq == seqs[1]


@pytest.mark.parametrize("name", sorted(set(HEARD) - {"fork", "rollback"}))
async def test_lie_needs_no_victim_and_no_single_lane(name: str, tmp_path: Path) -> None:
    """Unarmed everybody is honest; armed for anybody, over two inboxes and two outboxes, somebody is lied to."""
    with trio.fail_after(30):
        lie = make_lie(name)
        options = impatient(tmp_path / "liar")._replace(inboxes=2, outboxes=2)
        async with lying_provider(lie, tmp_path / "liar", options) as provider, party_at(provider) as party:
            alice, bob, carol = [await party.join(one) for one in ("alice", "bob", "carol")]
            made = Evening(provider, party, alice, bob, carol, {})
            for text in (HELLO, ONE):
                await made.say(made.alice, text)
            await made.settle()
            await made.bob.wait_epoch(parse_seq(made.seqs[ONE])[0])
            assert made.alice.texts == made.bob.texts == made.carol.texts == [HELLO, ONE]
            assert not lie.told
            lie.arm()
            await made.say(made.alice, TWO)
            await made.say(made.alice, THREE)
            while not lie.told:
                await made.alice.wait_frames(1)
            victims = {told.victim for told in lie.told}
            assert victims <= {made.alice.device_id, made.bob.device_id, made.carol.device_id}


async def test_lie_that_needs_two_outboxes_is_not_told_with_one(tmp_path: Path) -> None:
    with trio.fail_after(30), pytest.raises(ExceptionGroup) as caught:
        async with lying_provider(make_lie("misroute"), tmp_path / "liar"):
            pass
    assert "misroute needs 2 outboxes" in "".join(traceback.format_exception(caught.value))


async def test_lie_in_a_pipeline_without_faces(tmp_path: Path) -> None:
    """Over a store in memory, as a simulation has it: lies need no files and no sockets, fork and rollback apart."""
    with trio.fail_after(30):
        keys = Keys(tmp_path / "keys")
        lie = make_lie("insert")
        async with opened(await first_store(keys), keys, shaped(tmp_path)) as node, trio.open_nursery() as nursery:
            lie.install(node, Shadows())
            nursery.start_soon(node.pipeline.run)
            await node.pipeline.fanout.ready.wait()
            alice, bob = [Mailbox(node.origin, signer(number)) for number in (1, 2)]
            lie.arm(bob.device_id)
            members = Recipients(RecipientSet(bytes(16), tuple(sorted([alice.device_id, bob.device_id]))))
            bundle = build_bundle(alice.signer, node.origin, 0, [Draft(members, ONE, (), 5)])
            answers = Answers()
            await answers.submit(node, 0, bundle.encode())
            await answers.wait_shown(node, 1)
            for mailbox in (alice, bob):
                await mailbox.catch_up(node)
            assert (len(alice.deliveries), len(bob.deliveries)) == (1, 2)
            node.pipeline.stop()
