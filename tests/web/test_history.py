"""The committed log as strangers see it: whatever is shown verifies, and nothing is shown before it is committed."""

import json
from collections.abc import Iterable
from pathlib import Path

import hypothesis.strategies as st
import pytest
import trio
from hypothesis import example, given, settings

from noise.pipeline import epoch_log
from noise.pipeline.epoch_log import BLOCK_SIZE
from noise.protocol.checkpoint import Checkpoint, log_name_of, verify_checkpoint
from noise.protocol.delta import SIGNED_ROSTER, SignedRoster
from noise.protocol.encoding import HASHES, Codec
from noise.protocol.errors import ProofError
from noise.protocol.identifiers import Actor, Role, parse_actor
from noise.protocol.log_pages import EPOCH_STATEMENTS, INCLUSION, ROSTERS, EpochStatements
from noise.protocol.merkle import check_consistency, check_inclusion, leaf_hash, tree_root
from noise.protocol.signing import Signed
from noise.protocol.statements import (
    EPOCH_HEAD,
    EPOCH_OPEN,
    EPOCH_RECORD,
    MANIFEST,
    MERGE_SHEET,
    ROUTE_SHEET,
    STATEMENTS,
    Roster,
    check_successor,
    hash_manifest,
    hash_open,
    hash_roster,
    open_roster,
    statement_leaf_hash,
    verify_statement,
)
from tests.provider import Device
from tests.web.face import JSON, OCTETS, Face, open_face, problem_code

_ROSTER: Codec[SignedRoster] = SIGNED_ROSTER


async def fetch(face: Face, target: str) -> bytes:
    answer = await face.ask("GET", target, Accept=OCTETS)
    assert (answer.status, answer.headers[b"content-type"]) == (200, OCTETS.encode()), (target, answer)
    return answer.body


async def checkpoint_of(face: Face, epoch: int) -> Checkpoint:
    """The signed root of the log of size `epoch + 1`."""
    roster = await current_roster(face)
    shown = EPOCH_STATEMENTS.decode(await fetch(face, f"/v1/log/records/{epoch}"))
    key = roster.entry(Actor(Role.LOG, 0, 0)).key
    return verify_checkpoint(shown.note.encode(), log_name_of(face.origin), key)


async def current_roster(face: Face) -> Roster:
    signed = _ROSTER.decode(await fetch(face, "/v1/roster"))
    return open_roster(Signed(*signed), face.origin)


async def test_checkpoint_is_a_signed_note(tmp_path: Path) -> None:
    with trio.fail_after(10):
        async with open_face(tmp_path) as face:
            for size in (1, 2, 3):
                await face.provider.grow_log(size)
                answer = await face.ask("GET", "/v1/checkpoint")
                assert (answer.status, answer.headers[b"content-type"]) == (200, b"text/plain; charset=utf-8")
                assert answer.headers[b"cache-control"] == b"no-store"
                key = (await current_roster(face)).entry(Actor(Role.LOG, 0, 0)).key
                checkpoint = verify_checkpoint(answer.body, log_name_of(face.origin), key)
                assert checkpoint == await checkpoint_of(face, size - 1)
                assert checkpoint.size == size


async def test_rosters_form_a_chain_from_the_root_key(tmp_path: Path) -> None:
    with trio.fail_after(10):
        for inboxes in (1, 2, 3):
            async with open_face(tmp_path, inboxes=inboxes) as face:
                await face.send(Device("alice").write(face.origin, [b"x"]))
        async with open_face(tmp_path, inboxes=3) as face:
            rosters = [Signed(*signed) for signed in ROSTERS.decode(await fetch(face, "/v1/rosters"))]
            assert len(rosters) == 4  # one as it was made, and one for each shape
            opened = [open_roster(signed, face.origin) for signed in rosters]
            for before, after in zip(rosters, opened[1:], strict=False):
                check_successor(before, after)
            assert opened[-1] == await current_roster(face)
            answer = await face.ask("GET", "/v1/rosters")
            assert ROSTERS.from_json(json.loads(answer.body)) == tuple(SignedRoster(*signed) for signed in rosters)


def audit(shown: EpochStatements, roster: Roster) -> None:
    """What a stranger checks of an epoch."""
    record = EPOCH_RECORD.decode(shown.record)
    leaves = []
    n_messages = 0
    for manifest in shown.manifests:
        said = MANIFEST.decode(manifest.body)
        verify_statement(Signed(*manifest), "manifest", roster, parse_actor(said.actor), said.incarnation)
        leaves.append((said.actor, hash_manifest(manifest.body)))
        n_messages += said.n_messages
    for shown_ones, codec in ((shown.routes, ROUTE_SHEET), (shown.merges, MERGE_SHEET), (shown.heads, EPOCH_HEAD)):
        for signed in shown_ones:
            stated = codec.decode(signed.body)
            actor = parse_actor(stated.actor)
            label, body_hash = STATEMENTS[actor.role]
            verify_statement(Signed(*signed), label, roster, actor, stated.incarnation)
            leaves.append((stated.actor, body_hash(signed.body)))
    opened = EPOCH_OPEN.decode(shown.opened.body)
    verify_statement(Signed(*shown.opened), "open", roster, parse_actor(opened.actor), opened.incarnation)
    leaves.append((opened.actor, hash_open(shown.opened.body)))
    assert [actor for actor, _ in leaves] == roster.signers()
    assert record.statements_count == len(leaves)
    assert record.statements_root == tree_root([statement_leaf_hash(*leaf) for leaf in leaves])
    assert record.n_messages == n_messages
    assert record.roster_hash == opened.roster_hash


async def test_epochs_can_be_audited_by_strangers(tmp_path: Path) -> None:
    with trio.fail_after(10):
        async with open_face(tmp_path, inboxes=3, outboxes=2) as face:
            devices = [Device(f"device {number}") for number in range(5)]
            for device in devices:
                receipt = await face.send(device.write(face.origin, [b"x", b"y"], devices))
                await face.provider.wait_shown(receipt)
            roster = await current_roster(face)
            previous_root = tree_root([])
            for epoch in range(face.provider.log_size):
                shown = EPOCH_STATEMENTS.decode(await fetch(face, f"/v1/log/records/{epoch}"))
                audit(shown, roster)
                record = EPOCH_RECORD.decode(shown.record)
                assert (record.epoch, record.prev_root) == (epoch, previous_root)
                assert record.roster_hash == hash_roster((await signed_roster(face)).body)
                checkpoint = await checkpoint_of(face, epoch)
                check_inclusion(
                    checkpoint.root, epoch + 1, epoch, leaf_hash(shown.record), await inclusion(face, epoch, epoch + 1)
                )
                previous_root = checkpoint.root
                answer = await face.ask("GET", f"/v1/log/records/{epoch}")
                assert EPOCH_STATEMENTS.from_json(json.loads(answer.body)) == shown
                assert answer.headers[b"cache-control"] == b"public, max-age=31536000, immutable"


async def signed_roster(face: Face) -> SignedRoster:
    return _ROSTER.decode(await fetch(face, "/v1/roster"))


async def inclusion(face: Face, epoch: int, size: int) -> tuple[bytes, ...]:
    return INCLUSION.decode(await fetch(face, f"/v1/log/inclusion?epoch={epoch}&size={size}")).proof


async def test_proofs_for_all_small_sizes_verify(tmp_path: Path) -> None:
    with trio.fail_after(20):
        async with open_face(tmp_path) as face:
            await face.provider.grow_log(9)
            await check_proofs(face, range(1, 10), range(9))


@pytest.fixture(scope="module")
def long_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a provider with a full block of leaves and a part of one."""
    data = tmp_path_factory.mktemp("long")

    async def make() -> None:
        async with open_face(data) as face:
            await face.provider.grow_log(BLOCK_SIZE + 30)

    trio.run(make)
    return data


async def test_proofs_from_a_block_that_left_memory_verify(long_log: Path) -> None:
    with trio.fail_after(30):
        async with open_face(long_log) as face:  # it starts with the last, unfinished block of leaves only
            size = face.provider.log_size
            assert not face.provider.gateway.pipeline.sequencer.log.has(0)
            sizes = (1, 7, 128, BLOCK_SIZE - 1, BLOCK_SIZE, BLOCK_SIZE + 1, size)
            await check_proofs(face, sizes, [0, 100, BLOCK_SIZE - 1, BLOCK_SIZE, size - 1])


async def test_proofs_over_many_blocks_that_push_each_other_out_verify(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(epoch_log, "BLOCK_LEVEL", 2)
    monkeypatch.setattr(epoch_log, "BLOCK_SIZE", 4)
    monkeypatch.setattr(epoch_log, "_RECENT_BLOCKS", 1)
    monkeypatch.setattr(epoch_log, "_LOADED_BLOCKS", 2)
    with trio.fail_after(30):
        async with open_face(tmp_path) as face:
            await face.provider.grow_log(45)
            await check_proofs(face, (1, 2, 3, 4, 5, 8, 13, 16, 17, 31, 32, 33, 43, 44, 45), range(0, 45, 5))
        monkeypatch.setattr(epoch_log, "_LOADED_BLOCKS", 8)
        async with open_face(tmp_path) as face:
            statuses: list[int] = []

            async def ask(target: str) -> None:
                statuses.append((await face.ask("GET", target)).status)

            async with trio.open_nursery() as nursery:
                for old in range(1, 41):
                    nursery.start_soon(ask, f"/v1/log/consistency?old={old}&new=42")
            assert statuses == [200] * 40


async def check_proofs(face: Face, sizes: Iterable[int], epochs: Iterable[int]) -> None:
    roots = {size: (await checkpoint_of(face, size - 1)).root for size in sizes}
    for new_size, root in roots.items():
        for old_size in (n for n in roots if n <= new_size):
            proof = HASHES.decode(await fetch(face, f"/v1/log/consistency?old={old_size}&new={new_size}"))
            check_consistency(old_size, roots[old_size], new_size, root, proof)
        assert HASHES.decode(await fetch(face, f"/v1/log/consistency?old=0&new={new_size}")) == ()
        for epoch in (n for n in epochs if n < new_size):
            found = INCLUSION.decode(await fetch(face, f"/v1/log/inclusion?epoch={epoch}&size={new_size}"))
            check_inclusion(root, new_size, epoch, found.leaf_hash, found.proof)


async def test_changed_proofs_and_questions_do_not_verify(tmp_path: Path) -> None:
    with trio.fail_after(20):
        async with open_face(tmp_path) as face:
            await face.provider.grow_log(21)
            roots = {size: (await checkpoint_of(face, size - 1)).root for size in range(1, 22)}
            consistency = HASHES.decode(await fetch(face, "/v1/log/consistency?old=11&new=21"))
            found = INCLUSION.decode(await fetch(face, "/v1/log/inclusion?epoch=9&size=21"))
        check_consistency(11, roots[11], 21, roots[21], consistency)
        check_inclusion(roots[21], 21, 9, found.leaf_hash, found.proof)

        @settings(max_examples=60)
        @example(old_size=12, new_size=21, changed=(-1, 0))
        @given(
            old_size=st.integers(1, 21),
            new_size=st.integers(1, 21),
            changed=st.tuples(st.integers(-1, len(consistency) - 1), st.integers(0, 255)),
        )
        def check(old_size: int, new_size: int, changed: tuple[int, int]) -> None:
            proof = flipped(consistency, *changed)
            if (old_size, new_size, proof) != (11, 21, consistency) and old_size != new_size:
                with pytest.raises(ProofError):
                    check_consistency(old_size, roots[old_size], new_size, roots[new_size], proof)

        @settings(max_examples=60)
        @given(epoch=st.integers(0, 20), changed=st.tuples(st.integers(-1, len(found.proof) - 1), st.integers(0, 255)))
        def check_leaf(epoch: int, changed: tuple[int, int]) -> None:
            proof = flipped(found.proof, *changed)
            if (epoch, proof) != (9, found.proof):
                with pytest.raises(ProofError):
                    check_inclusion(roots[21], 21, epoch, found.leaf_hash, proof)

        check()
        check_leaf()


def flipped(proof: tuple[bytes, ...], place: int, bit: int) -> tuple[bytes, ...]:
    """A proof with one bit of one hash turned over; -1: as it was."""
    if place < 0:
        return proof
    turned = (int.from_bytes(proof[place], "big") ^ 1 << bit).to_bytes(32, "big")
    return (*proof[:place], turned, *proof[place + 1 :])


async def test_nothing_beyond_the_committed_log_is_shown(tmp_path: Path) -> None:
    with trio.fail_after(10):
        async with open_face(tmp_path) as face:
            await face.provider.grow_log(3)
            face.provider.gateway.pipeline.sequencer.log.append(bytes(32))  # as while an epoch is being committed
            for target in (
                "/v1/log/consistency?old=1&new=4",
                "/v1/log/consistency?old=4&new=4",
                "/v1/log/inclusion?epoch=0&size=4",
                "/v1/log/inclusion?epoch=3&size=4",
                "/v1/log/records/3",
                f"/v1/log/records/{2**64 - 1}",
                f"/v1/log/consistency?old=1&new={2**64 - 1}",
            ):
                assert await face.code("GET", target) == "not-committed", target
            await check_proofs(face, [1, 2, 3], [0, 1, 2])
            answer = await face.ask("GET", "/v1/checkpoint")
            assert answer.body.split(b"\n")[1] == b"3"


async def test_questions_are_read_strictly(tmp_path: Path) -> None:
    with trio.fail_after(10):
        async with open_face(tmp_path) as face:
            await face.provider.grow_log(3)
            for target, code in (
                ("/v1/log/consistency", "bad-query"),
                ("/v1/log/consistency?old=1", "bad-query"),
                ("/v1/log/consistency?new=1", "bad-query"),
                ("/v1/log/consistency?old=2&new=1", "bad-query"),
                ("/v1/log/consistency?old=1&new=2&size=2", "bad-query"),
                ("/v1/log/consistency?old=01&new=2", "bad-query"),
                ("/v1/log/inclusion?epoch=1&size=1", "bad-query"),
                ("/v1/log/inclusion?epoch=0&size=0", "bad-query"),
                ("/v1/log/inclusion?epoch=-1&size=1", "bad-query"),
                ("/v1/log/records/0?x", "bad-query"),
                ("/v1/checkpoint?size=1", "bad-query"),
                ("/v1/roster?version=1", "bad-query"),
                ("/v1/rosters?version=1", "bad-query"),
                ("/v1/log/records/00", "malformed"),
                ("/v1/log/records/+1", "malformed"),
                ("/v1/log/records/1.0", "malformed"),
                ("/v1/log/records/%D9%A1", "malformed"),  # an Arabic-Indic digit one
                ("/v1/log/records/0%00", "malformed"),
                ("/v1/log/records/100000000000000000000", "malformed"),
                ("/v1/log/records/", "not-found"),
                ("/v1/log/records/0/", "not-found"),
                ("/v1/log/", "not-found"),
            ):
                assert await face.code("GET", target) == code, target
            assert await face.code("GET", "/v1/roster", Accept="text/html") == "not-acceptable"
            assert (await face.ask("GET", "/v1/log/records/0", Accept=JSON)).headers[b"vary"] == b"Accept"


async def test_damaged_state_is_not_shown(long_log: Path) -> None:
    """Leaves that are not what was signed: an error of ours, which says so to the log and not to strangers."""
    with trio.fail_after(30):
        async with open_face(long_log) as face:
            face.provider.gateway.pipeline.sequencer.log._blocks[0][0] = bytes(32)
            answer = await face.ask("GET", "/v1/log/inclusion?epoch=1&size=100")
            assert (answer.status, problem_code(answer)) == (500, "store-corrupt")
            assert b"fsck" not in answer.body
