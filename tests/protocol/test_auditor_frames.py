"""Nobody is framed before an auditor: what no actor signed, or signed about something else, names the provider."""

from collections.abc import Callable
from typing import Any

import pytest

from noise.protocol.audit_page import AuditPage
from noise.protocol.auditor import AuditFailed
from noise.protocol.delta import SignedHead
from noise.protocol.statements import EPOCH_RECORD
from tests.protocol.audited import TRUTH, Audited, Lie, Turn, make_signed_roster, with_leaf
from tests.protocol.audited_story import ALICE, BODIES, LANES, NAMES, accused_by, audit, letter, make_story
from tests.vectors.cast import ORIGIN, signer_of


@pytest.mark.parametrize("changes", [{"root": bytes(32)}, {"size": 3}])
def test_a_record_that_no_checkpoint_leads_to_is_nobodys(changes: dict[str, Any]) -> None:
    found = accused_by(*make_story(Lie("log-0-0", fields={"checkpoint": changes})))
    assert (found.actor, found.epoch) == ("provider", 1)


def test_another_record_is_nobodys() -> None:
    """Anybody can write one. The checkpoint is another record's."""
    provider, turns = make_story()
    record = EPOCH_RECORD.encode(EPOCH_RECORD.decode(turns[1].statements.record)._replace(time_ms=0))
    for shown in (record, record[:-1]):
        turn = turns[1]._replace(statements=turns[1].statements._replace(record=shown))
        found = accused_by(provider, [turns[0], turn, turns[2]])
        assert (found.actor, found.epoch) == ("provider", 1)


def test_the_newest_checkpoint_is_that_of_the_log() -> None:
    provider, turns = make_story()
    other, shorter = make_story(Lie("log-0-0", fields={"time_ms": 1_002}))[0].note, turns[1].statements.note.encode()
    for note, actor in ((other, "log-0-0"), (shorter, "provider"), (b"no note", "provider")):
        with pytest.raises(AuditFailed) as caught:
            audit(provider, turns).check_checkpoint(note)
        assert (caught.value.actor, caught.value.epoch) == (actor, 2)


@pytest.mark.parametrize("actor", ["inbox-0-1", "router-0-0", "receiver-0-1", "outbox-0-0", "sequencer-0-0", "log-0-0"])
def test_a_statement_that_is_signed_by_another_key_is_nobodys(actor: str) -> None:
    found = accused_by(*make_story(Lie(actor, signer=signer_of("somebody"))))
    assert (found.actor, found.epoch) == ("provider", 1)


def _with_statement(turn: Turn, shown: str, **changes: Any) -> Turn:
    first, *rest = getattr(turn.statements, shown)
    others: dict[str, Any] = {shown: (first._replace(**changes), *rest)}
    return turn._replace(statements=turn.statements._replace(**others))


@pytest.mark.parametrize("shown", BODIES)
def test_a_zeroed_signature_is_nobodys(shown: str) -> None:
    """Whoever shows statements can write what it likes where a signature stands, and leave the rest as it is."""
    provider, turns = make_story()
    found = accused_by(provider, [turns[0], _with_statement(turns[1], shown, signature=bytes(64)), turns[2]])
    assert (found.actor, found.epoch) == ("provider", 1)


@pytest.mark.parametrize("shown", BODIES)
def test_a_signature_that_is_missing_names_no_actor_before_it(shown: str) -> None:
    """Not even the one that lied: nothing is looked at before all signatures were verified."""
    provider, turns = make_story(Lie("router-0-0", fields={"root": bytes(32)}))
    found = accused_by(provider, [turns[0], _with_statement(turns[1], shown, signature=bytes(64)), turns[2]])
    assert found.actor == "provider"


@pytest.mark.parametrize("shown", BODIES)
def test_an_old_statement_is_not_about_this_epoch(shown: str) -> None:
    """Signed by its actor, and shown in the place of another."""
    provider, turns = make_story()
    old = getattr(turns[0].statements, shown)[0]
    turn = _with_statement(turns[1], shown, body=old.body, signature=old.signature)
    found = accused_by(provider, [turns[0], turn, turns[2]])
    assert (found.actor, found.epoch) == ("provider", 1)


def test_a_manifest_that_its_inbox_signed_twice_does_not_name_the_router() -> None:
    """The router made its sheet from the other one, and honestly."""
    provider, turns = make_story()
    liar = make_story(Lie("inbox-0-0", lambda messages: messages[:1]))[1][1]
    lanes = (liar.page.lanes[0], *turns[1].page.lanes[1:])
    statements = turns[1].statements
    statements = statements._replace(manifests=(liar.statements.manifests[0], *statements.manifests[1:]))
    found = accused_by(provider, [turns[0], Turn(statements, AuditPage(lanes)), turns[2]])
    assert (found.actor, found.epoch) == ("provider", 1)
    assert "manifest_hash" in found.detail


def test_a_statement_beside_the_record_does_not_name_the_log() -> None:
    """It is signed and right, but for what the record has of this actor."""
    provider, turns = make_story()
    other = make_story(Lie("outbox-0-1", fields={"map_root": bytes(32)}))[1][1].statements
    turn = turns[1]._replace(statements=turns[1].statements._replace(record=other.record, note=other.note))
    found = accused_by(provider, [turns[0], turn, turns[2]])
    assert (found.actor, found.epoch) == ("provider", 1)
    assert "statements_root" in found.detail


def test_what_an_actor_signed_and_is_no_statement_names_it() -> None:
    provider, turns = make_story()
    garbage = signer_of("router-0-0.1").sign("route", ORIGIN, b"garbage")
    turn = _with_statement(turns[1], "routes", body=garbage.body, signature=garbage.signature)
    found = accused_by(provider, [turns[0], turn, turns[2]])
    assert (found.actor, found.epoch) == ("router-0-0", 1)


def test_a_counter_that_another_inbox_took_does_not_name_this_one() -> None:
    """It may not have been told."""
    found = accused_by(*make_story(Lie("inbox-0-1", lambda messages: [with_leaf(messages[0], sender=ALICE)])))
    assert (found.actor, found.epoch) == ("provider", 1)
    assert "counter" in found.detail


# What is shown beside the statements.


def _with_lane(turn: Turn, index: int, **changes: Any) -> Turn:
    lanes = list(turn.page.lanes)
    lanes[index] = lanes[index]._replace(**changes)
    return turn._replace(page=turn.page._replace(lanes=tuple(lanes)))


def _with_message(turn: Turn, **changes: Any) -> Turn:
    first, *rest = turn.page.lanes[0].messages
    return _with_lane(turn, 0, messages=(first._replace(**changes), *rest))


def _other_sets(turn: Turn) -> Turn:
    sets = turn.page.lanes[0].sets
    return _with_lane(turn, 0, sets=(sets[0]._replace(device_ids=(ALICE,)), *sets[1:]))


def _open_twice(turn: Turn) -> Turn:
    heads = (*turn.statements.heads, SignedHead(*turn.statements.opened))
    return turn._replace(statements=turn.statements._replace(heads=heads))


PAGE_LIES: dict[str, Callable[[Turn], Turn]] = {
    "a lane less": lambda turn: turn._replace(page=turn.page._replace(lanes=turn.page.lanes[:1])),
    "lanes out of order": lambda turn: turn._replace(page=turn.page._replace(lanes=turn.page.lanes[::-1])),
    "other recipients": _other_sets,
    "another set": lambda turn: _with_message(turn, set_index=1),
    "no such set": lambda turn: _with_message(turn, set_index=7),
    "a message less": lambda turn: _with_lane(turn, 1, messages=turn.page.lanes[1].messages[:1]),
    "another message": lambda turn: _with_message(
        turn, leaf=with_leaf(turn.page.lanes[0].messages[0], env_hash=bytes(32)).leaf
    ),
    "messages out of order": lambda turn: _with_lane(turn, 0, messages=turn.page.lanes[0].messages[::-1]),
    "no ciphertexts": lambda turn: _with_message(turn, ciphertexts=()),
    "other ciphertexts": lambda turn: _with_message(turn, ciphertexts=(bytes(32), bytes(32))),
    "a statement less": lambda turn: turn._replace(statements=turn.statements._replace(merges=())),
    "a statement twice": _open_twice,
}


@pytest.mark.parametrize("what", PAGE_LIES)
def test_what_nobody_signed_names_the_provider(what: str) -> None:
    provider, turns = make_story()
    found = accused_by(provider, [turns[0], PAGE_LIES[what](turns[1]), turns[2]])
    assert (found.actor, found.epoch) == ("provider", 1)


def test_epochs_are_replayed_in_order() -> None:
    provider, turns = make_story()
    for shown in (turns[1:], [turns[0], turns[0]], [turns[0], turns[2]]):
        assert accused_by(provider, shown).actor == "provider"


# Rosters.


def test_what_an_outbox_was_given_wrong_does_not_name_it() -> None:
    """Its first map under another roster is made of what others kept. From the second on it is its own."""
    for epoch, named in ((0, "outbox-0-0"), (1, "provider"), (2, "outbox-0-0")):
        provider = Audited(make_signed_roster())
        lies = [TRUTH] * 3
        lies[epoch] = Lie("outbox-0-0", fields={"map_root": bytes(32)})
        turns = [provider.commit([[letter("alice", 1, b"one", to=NAMES)]], lies[0])]
        provider.rosters.append(make_signed_roster(provider.rosters, n_outboxes=2, valid_from_epoch=1))
        turns += [provider.commit(lie=lie) for lie in lies[1:]]
        found = accused_by(provider, turns)
        assert (found.actor, found.epoch) == (named, epoch)
        assert "map_root" in found.detail


def test_a_roster_for_epochs_that_ran_under_another_names_nobody() -> None:
    """A root that signs too late and a log that obeys too late look alike."""
    provider, turns = make_story()
    provider.rosters.append(make_signed_roster(provider.rosters, lanes=LANES, n_outboxes=2, valid_from_epoch=1))
    found = accused_by(provider, turns)
    assert (found.actor, found.epoch) == ("provider", 1)


def test_a_withheld_roster_names_nobody() -> None:
    """Whoever shows pages leaves out the newest: honest actors obey one that the auditor does not know."""
    provider, turns = make_story()
    provider.rosters.append(make_signed_roster(provider.rosters, lanes=LANES, n_outboxes=2, valid_from_epoch=3))
    turns.append(provider.commit([[], []]))
    audit(provider, turns)
    provider.rosters.pop()
    found = accused_by(provider, turns)
    assert (found.actor, found.epoch) == ("provider", 3)


def test_a_roster_of_later_epochs_does_not_serve_yet() -> None:
    provider = Audited(make_signed_roster())
    turns = [provider.commit()]
    provider.rosters.append(make_signed_roster(provider.rosters, valid_from_epoch=2))
    turns.append(provider.commit())
    found = accused_by(provider, turns)
    assert (found.actor, found.epoch) == ("provider", 1)
