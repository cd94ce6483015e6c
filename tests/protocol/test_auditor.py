"""An auditor lets honest providers pass, and names the one stage whose output is not what its input makes. What is no
actor's signed word, or is about something else than what is shown, names the provider."""

from collections.abc import Callable
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from noise.protocol.audit_page import AUDIT_PAGE, AuditMessage
from noise.protocol.auditor import Auditor
from noise.protocol.delta import SignedRoster
from noise.protocol.errors import DecodeError, SignatureError
from noise.protocol.identifiers import Actor, Role
from noise.protocol.log_pages import EPOCH_STATEMENTS
from noise.protocol.placement import place_mailbox
from noise.protocol.signing import Signed
from noise.protocol.statements import (
    EPOCH_OPEN,
    EPOCH_RECORD,
    ROSTER,
)
from tests.protocol.audited import Audited, Content, Lie, Turn, make_signed_roster, with_leaf
from tests.protocol.audited_story import ALICE, BOB, BODIES, CAROL, DAVE, NAMES, accused_by, audit, letter, make_story
from tests.vectors.cast import ORIGIN, OTHER_ORIGIN, bundle_of, draft_of, recipients_of


def test_the_story_reaches_every_stage() -> None:
    provider, _ = make_story()
    outboxes = {place_mailbox(provider.roster, mailbox).number for mailbox in (ALICE, BOB, CAROL, DAVE)}
    assert outboxes == {0, 1}


def test_an_honest_provider_passes() -> None:
    auditor = audit(*make_story())
    assert auditor.next_epoch == 3
    assert auditor.counts == (3, 8, 4 * 3 + 2 * 2 + 4 + 3 * 2, 3 * 10)


def test_pages_and_statements_are_the_same_after_the_wire() -> None:
    provider, turns = make_story()
    sent = [(EPOCH_STATEMENTS.encode(turn.statements), AUDIT_PAGE.encode(turn.page)) for turn in turns]
    audit(provider, [Turn(EPOCH_STATEMENTS.decode(one), AUDIT_PAGE.decode(other)) for one, other in sent])


def test_no_content_is_on_a_page() -> None:
    """Neither what a message says, nor a ciphertext that is for one recipient."""
    provider = Audited(make_signed_roster())
    bundle = letter("alice", 1, b"a secret of eight words and one number 7", to=("bob",), own=40)
    encoded = AUDIT_PAGE.encode(provider.commit([[bundle]]).page)
    assert bundle.commons[0] not in encoded
    assert bundle.ciphertext_columns[0][:40] not in encoded
    assert BOB in encoded


def test_an_empty_provider_passes() -> None:
    provider = Audited(make_signed_roster())
    assert audit(provider, [provider.commit(), provider.commit()]).counts == (2, 0, 0, 12)


# Fields of statements: each is what its input makes, or its signer is named. It is not if what it names as its input is
# not shown: then nobody can say that it lied.

GIVEN: dict[str, set[str]] = {
    "inbox": {"epoch", "lane", "n_messages", "root"},
    "router": {"epoch", "roster_hash", "manifest_hash"},
    "receiver": {"epoch", "roster_hash", "inputs"},
    "outbox": {"epoch", "roster_hash", "merge_sheet_hash"},
    "sequencer": {"epoch", "roster_hash"},
    "log": {"roster_hash", "statements_root"},
}


def _named(actor: str, field: str) -> str:
    return "provider" if field in GIVEN[actor.partition("-")[0]] else actor


def _changed(value: Any) -> Any:
    if isinstance(value, int):
        return value + 1
    if isinstance(value, bytes):
        return bytes([value[0] ^ 1]) + value[1:]
    return value[::-1]


FIELDS = [
    (actor, shown, index, name)
    for actor, shown, index in (
        ("inbox-0-0", "manifests", 0),
        ("inbox-0-1", "manifests", 1),
        ("router-0-1", "routes", 1),
        ("receiver-0-0", "merges", 0),
        ("receiver-0-1", "merges", 1),
        ("outbox-0-0", "heads", 0),
        ("outbox-0-1", "heads", 1),
    )
    for name in BODIES[shown].cls._fields
]


@pytest.mark.parametrize(("actor", "shown", "index", "name"), FIELDS)
def test_a_changed_field_names_its_signer(actor: str, shown: str, index: int, name: str) -> None:
    _, truth = make_story()
    body = BODIES[shown].decode(getattr(truth[1].statements, shown)[index].body)
    found = accused_by(*make_story(Lie(actor, fields={name: _changed(getattr(body, name))})))
    assert (found.actor, found.epoch) == (_named(actor, name), 1)
    assert name in found.detail
    assert actor in str(found)


@pytest.mark.parametrize("name", EPOCH_OPEN.cls._fields)
def test_a_changed_field_names_the_sequencer(name: str) -> None:
    _, truth = make_story()
    body = EPOCH_OPEN.decode(truth[1].statements.opened.body)
    found = accused_by(*make_story(Lie("sequencer-0-0", fields={name: _changed(getattr(body, name))})))
    assert (found.actor, found.epoch) == (_named("sequencer-0-0", name), 1)
    assert name in found.detail


@pytest.mark.parametrize("name", [name for name in EPOCH_RECORD.cls._fields if not name.startswith("challenges")])
def test_a_changed_field_names_the_log(name: str) -> None:
    _, truth = make_story()
    value = getattr(EPOCH_RECORD.decode(truth[1].statements.record), name)
    changed = value - 1_000 if name == "time_ms" else _changed(value)
    found = accused_by(*make_story(Lie("log-0-0", fields={name: changed})))
    assert (found.actor, found.epoch) == (_named("log-0-0", name), 1)
    assert name in found.detail


def test_challenges_are_never_forgotten() -> None:
    found = accused_by(*make_story(Lie("log-0-0", fields={"challenges_count": 0})))
    assert (found.actor, found.epoch) == ("log-0-0", 1)
    assert "challenges_count" in found.detail


# Content: everybody after the liar goes on honestly from what it signed.


def _withhold(mailbox: bytes) -> Callable[[Content], Content]:
    return lambda content: {other: messages for other, messages in content.items() if other != mailbox}


def _withhold_one(mailbox: bytes) -> Callable[[Content], Content]:
    return lambda content: content | {mailbox: content[mailbox][1:]}


def _misdeliver(content: Content) -> Content:
    """A message of bob to alice and dave reaches carol too."""
    return content | {CAROL: [*content.get(CAROL, []), content[DAVE][-1]]}


def _reorder(content: Content) -> Content:
    return content | {BOB: content[BOB][::-1]}


def _repeat(content: Content) -> Content:
    return content | {BOB: [*content[BOB], content[BOB][-1]]}


def _alter(content: Content) -> Content:
    first, *rest = content[BOB]
    return content | {BOB: [with_leaf(first, payload_hash=bytes(32)), *rest]}


CONTENT_LIES: dict[str, tuple[bytes, Callable[[Content], Content]]] = {
    "withheld from a mailbox": (BOB, _withhold(BOB)),
    "one message withheld": (BOB, _withhold_one(BOB)),
    "misdelivered": (CAROL, _misdeliver),
    "reordered": (BOB, _reorder),
    "repeated": (BOB, _repeat),
    "altered": (BOB, _alter),
}
"""The mailbox that it is about, and what is made of an honest stage's content."""


@pytest.mark.parametrize("what", CONTENT_LIES)
@pytest.mark.parametrize("role", [Role.ROUTER, Role.RECEIVER, Role.OUTBOX])
def test_a_lie_about_content_names_its_stage(role: Role, what: str) -> None:
    mailbox, lie = CONTENT_LIES[what]
    outbox = place_mailbox(make_story()[0].roster, mailbox).number
    number = (1 if what == "misdelivered" else 0) if role == Role.ROUTER else outbox
    actor = str(Actor(role, 0, number))
    found = accused_by(*make_story(Lie(actor, lie)))
    assert (found.actor, found.epoch) == (actor, 1)


def _swap_seqs(messages: list[AuditMessage]) -> list[AuditMessage]:
    first, second, *rest = messages
    return [with_leaf(first, seq=second.leaf.seq), with_leaf(second, seq=first.leaf.seq), *rest]


def _reuse_counter(messages: list[AuditMessage]) -> list[AuditMessage]:
    first, second, *rest = messages
    return [first, with_leaf(second, sender_ctr=first.leaf.sender_ctr), *rest]


def _take_an_old_one(messages: list[AuditMessage]) -> list[AuditMessage]:
    first, *rest = messages
    return [with_leaf(first, sender_ctr=2), *rest]


def _take_a_strangers(messages: list[AuditMessage]) -> list[AuditMessage]:
    first, *rest = messages
    return [with_leaf(first, sender=DAVE), *rest]


@pytest.mark.parametrize("lie", [_swap_seqs, _reuse_counter, _take_an_old_one, _take_a_strangers])
def test_a_lane_that_no_inbox_may_seal_names_the_inbox(lie: Callable[[Any], Any]) -> None:
    found = accused_by(*make_story(Lie("inbox-0-0", lie)))
    assert (found.actor, found.epoch) == ("inbox-0-0", 1)


# Rosters.


def test_mailboxes_move_and_chains_go_on_under_another_roster() -> None:
    provider = Audited(make_signed_roster())
    turns = [provider.commit([[letter("alice", 1, b"one", to=NAMES, own=8)]])]
    for lanes, n_outboxes, incarnations in (((0,), 3, {}), ((0, 1), 2, {}), ((0, 2), 1, {"inbox-0-1": 2})):
        shape: dict[str, Any] = {"lanes": lanes, "n_outboxes": n_outboxes, "incarnations": incarnations}
        provider.rosters.append(make_signed_roster(provider.rosters, valid_from_epoch=provider.log.size, **shape))
        bundle = letter("alice", 1 + len(turns), b"more", to=NAMES, own=8)
        turns.append(provider.commit([[bundle], *[[] for _ in lanes[1:]]]))
    assert audit(provider, turns).counts.deliveries == 4 * 4


def test_a_new_incarnation_does_not_continue_the_old_chain() -> None:
    provider = Audited(make_signed_roster())
    turns = [provider.commit()]
    incarnations = {"router-0-0": 2}
    provider.rosters.append(make_signed_roster(provider.rosters, valid_from_epoch=1, incarnations=incarnations))
    router = Actor(Role.ROUTER, 0, 0).encode()
    turns.append(provider.commit(lie=Lie("router-0-0", fields={"previous": provider.previous[router, 1]})))
    found = accused_by(provider, turns)
    assert (found.actor, found.epoch) == ("router-0-0", 1)


def test_rosters_that_are_not_the_origins_are_refused() -> None:
    provider, _ = make_story()
    with pytest.raises(SignatureError):
        Auditor(OTHER_ORIGIN, provider.rosters)
    with pytest.raises(DecodeError):
        Auditor(ORIGIN, [])
    with pytest.raises(DecodeError):
        Auditor(ORIGIN, [*provider.rosters, *provider.rosters])
    body, signature = SignedRoster(*provider.rosters[0])
    with pytest.raises(SignatureError):
        Auditor(ORIGIN, [Signed(body, bytes([signature[0] ^ 1]) + signature[1:])])
    assert ROSTER.decode(body).version == 1


@st.composite
def _worlds(draw: st.DrawFn) -> tuple[tuple[int, ...], int, list[list[list[tuple[str, list[tuple[set[str], int]]]]]]]:
    lanes = tuple(sorted(draw(st.sets(st.integers(0, 5), min_size=1, max_size=3))))
    drafts = st.lists(st.tuples(st.sets(st.sampled_from(NAMES)), st.sampled_from([0, 5])), min_size=1, max_size=3)
    lane = st.lists(st.tuples(st.sampled_from(NAMES), drafts), max_size=2)
    epochs = st.lists(st.lists(lane, min_size=len(lanes), max_size=len(lanes)), min_size=1, max_size=3)
    return lanes, draw(st.integers(1, 3)), draw(epochs)


@settings(max_examples=25, deadline=None)
@given(_worlds())
def test_honest_providers_of_any_shape_pass(world: Any) -> None:
    lanes, n_outboxes, epochs = world
    provider = Audited(make_signed_roster(lanes=lanes, n_outboxes=n_outboxes))
    counters: dict[str, int] = {}
    turns = []
    for number, epoch in enumerate(epochs):
        sealed = []
        for lane in epoch:
            bundles = []
            for sender, drafts in lane:
                first_ctr = counters.get(sender, 1)
                counters[sender] = first_ctr + len(drafts)
                made = [draft_of(recipients_of(*{sender, *to}), b"%d" % number, own) for to, own in drafts]
                bundles.append(bundle_of(sender, made, first_ctr))
            sealed.append(bundles)
        turns.append(provider.commit(sealed))
    assert audit(provider, turns).next_epoch == len(epochs)
