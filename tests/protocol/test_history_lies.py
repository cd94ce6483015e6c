"""Lies that are rightly signed, each with the code under which a follower refuses it: records, messages, catching up.

Knows nothing of lies about log, roster and head: those are in `test_follower_lies`.
"""

from collections.abc import Callable
from typing import Any

import pytest

from noise.protocol.envelope import Bundle, EnvelopeRow, Recipients
from noise.protocol.errors import ProviderMisbehaved
from noise.protocol.identifiers import make_seq
from noise.protocol.merkle import leaf_hash, tree_root
from noise.protocol.trust import Bound
from tests.protocol.liar import Liar, Lie, Placed, Told
from tests.protocol.story import ALICE, BOB, DAVE, LAST, OTHER_ROOT, Client, check_lie, letter, story, tell_story
from tests.vectors.cast import ORIGIN, OTHER_ORIGIN, bundle_of, draft_of, recipients_of, signer_of

KNOWN = 3  # bob's records before the last epoch


def before() -> Told:
    return story().told[BOB].upto(KNOWN)


def honest() -> list[Placed]:
    """What the last epoch brings bob."""
    six, eight = letter("alice", 4, b"six", b"seven", own=8), letter("carol", 2, b"eight", to=("bob", "carol"))
    assert before().then(LAST, Placed(six), Placed(eight, 2)) == story().told[BOB]
    return [Placed(six), Placed(eight, 2)]


RECORD_LIES: dict[str, dict[str, Any]] = {
    "mailbox": {"mailbox": ALICE},
    "k": {"k": KNOWN + 1},
    "k again": {"k": KNOWN - 1},
    "prev_epoch": {"prev_epoch": LAST - 2},
    "prev_root": {"prev_root": OTHER_ROOT},
    "more messages": {"n_messages": 4},
    "fewer messages": {"n_messages": 2},
    "delta_root": {"delta_root": OTHER_ROOT},
    "own_ciphertexts_count": {"own_ciphertexts_count": 1},
    "own_ciphertexts_root": {"own_ciphertexts_root": OTHER_ROOT},
}


@pytest.mark.parametrize("changes", RECORD_LIES.values(), ids=RECORD_LIES)
def test_lies_of_a_record(changes: dict[str, Any]) -> None:
    check_lie("bad-history", told=before().then(LAST, *honest(), **changes))


def test_a_record_of_another_epoch() -> None:
    check_lie("bad-history", told=before().then(LAST, *honest(), epoch=LAST - 1), state=story().told[BOB].state)
    check_lie("wrong-state", told=before().then(LAST, *honest(), epoch=LAST + 1))
    check_lie("bad-history", told=before().then(LAST, *honest(), epoch=LAST + 1), state=story().told[BOB].state)


def test_a_record_without_messages() -> None:
    told = before().then(LAST)
    late = told.state._replace(last_seq=make_seq(LAST, 0, 0), total=told.state.total + 1)
    check_lie("bad-history", told=told, state=late)


def forged(bundle: Bundle, by: str, origin: bytes = ORIGIN) -> Bundle:
    """With another signature."""
    bundle.signature = signer_of(by).sign("bundle", origin, bundle.body).signature
    return bundle


def impersonated(bundle: Bundle, by: str) -> Bundle:
    """The same messages, as if another device had sent them, who signs rightly."""
    commons = list(bundle.commons)
    rows: tuple[EnvelopeRow, ...] = bundle.rows
    mine = Bundle(ORIGIN, signer_of(by).public_key, bundle.first_ctr, bundle.recipients, rows, commons, b"")
    return forged(mine, by)


MessageLie = Callable[[], list[Placed]]
MESSAGE_LIES: dict[str, tuple[str, MessageLie]] = {
    "another order": ("bad-order", lambda: honest()[::-1]),
    "a bundle twice": ("bad-order", lambda: [honest()[0], *honest()]),
    "a bundle in two parts": (
        "bad-order",
        lambda: [Placed(honest()[0].bundle, 0, (0,)), Placed(honest()[0].bundle, 0, (1,))],
    ),
    "positions that overlap": ("bad-order", lambda: [honest()[0], honest()[1]._replace(first_pos=1)]),
    "a bundle at two places": ("counter-reused", lambda: [honest()[0], honest()[0]._replace(first_pos=2)]),
    "a bundle of an earlier epoch": ("counter-reused", lambda: [Placed(letter("alice", 1, b"one", b"two", own=8))]),
    "a counter that was used": ("counter-reused", lambda: [Placed(letter("alice", 3, b"not four"))]),
    "a counter that was skipped": (
        "counter-reused",
        lambda: [Placed(letter("alice", 9, b"nine")), Placed(letter("alice", 8, b"eight"), 1)],
    ),
    "a counter twice": (
        "counter-reused",
        lambda: [Placed(letter("alice", 9, b"nine")), Placed(letter("alice", 9, b"again"), 1)],
    ),
    "counters that overlap": (
        "counter-reused",
        lambda: [Placed(letter("alice", 8, b"eight", b"nine")), Placed(letter("alice", 9, b"nine"), 2)],
    ),
    "a message for others": ("not-a-recipient", lambda: [Placed(letter("alice", 9, b"?", to=("alice", "carol")))]),
    "a message for others beside one's own": (
        "not-a-recipient",
        lambda: [
            Placed(
                bundle_of(
                    "alice",
                    [draft_of(recipients_of(*to), b"?") for to in (("alice", "bob"), ("alice", "carol"))],
                    first_ctr=9,
                )
            )
        ],
    ),
    "another signer": ("bad-signature", lambda: [Placed(forged(letter("alice", 9, b"hello"), "mallory"))]),
    "the provider's signature": ("bad-signature", lambda: [Placed(forged(letter("alice", 9, b"hello"), "root"))]),
    "a bundle for another provider": (
        "bad-signature",
        lambda: [Placed(forged(letter("alice", 9, b"hello"), "alice", OTHER_ORIGIN))],
    ),
    "a sender who is no recipient": (
        "sender-not-recipient",
        lambda: [Placed(impersonated(letter("alice", 9, b"hello"), "mallory"))],
    ),
}


@pytest.mark.parametrize("name", MESSAGE_LIES)
def test_lies_about_messages(name: str) -> None:
    """The record commits to what comes, and every signature of the provider is right."""
    code, make = MESSAGE_LIES[name]
    liar = tell_story()
    told = before().then(LAST, *make())
    for placed in make():
        liar.sets.update((recipients.root, recipients) for recipients in placed.bundle.recipients)
    client = Client(liar, LAST)
    client.refuses(liar.delta(BOB, client.follower.cursor, told=told), code)
    client.take(liar.delta(BOB, client.follower.cursor))
    assert client.texts == [b"one", b"two", b"three", b"four", b"five", b"six", b"seven", b"eight"]


def test_messages_beside_an_honest_record() -> None:
    """Dropped, inserted, reordered or exchanged under a record that says otherwise."""
    true = story().told[BOB]
    first, second = true.entries[-1].sections
    inserted = before().then(LAST, Placed(letter("alice", 9, b"inserted"), 3)).entries[-1].sections[0]
    exchanged = before().then(LAST, Placed(letter("alice", 4, b"SIX", b"seven", own=8))).entries[-1].sections[0]
    partial = before().then(LAST, Placed(honest()[0].bundle, 0, (0,))).entries[-1].sections[0]
    elsewhere = second._replace(first_seq=make_seq(LAST, 0, 3))
    another_lane = second._replace(first_seq=make_seq(LAST, 1, 2))
    early = first._replace(first_seq=make_seq(LAST - 1, 0, 0))
    for code, sections in (
        ("bad-history", (first,)),
        ("bad-history", (second,)),
        ("bad-history", ()),
        ("bad-history", (first, second, inserted)),
        ("bad-history", (exchanged, second)),
        ("bad-history", (partial, second)),
        ("bad-history", (first, elsewhere)),
        ("bad-history", (first, another_lane)),
        ("bad-order", (second, first)),
        ("malformed", (early, second)),
    ):
        check_lie(code, told=true.with_sections(*sections))


def test_own_ciphertexts_of_another_recipient() -> None:
    """With their own proof, and a record over them."""
    check_lie("bad-signature", told=before().then(LAST, honest()[0], own_part_of=ALICE))


def test_another_recipient_list() -> None:
    """One that the connection knows, in the place of the signed one."""
    first, second = story().told[BOB].entries[-1].sections
    us: Recipients = recipients_of("alice", "bob", "carol")
    told = story().told[BOB].with_sections(first._replace(roots=(us.root,)), second)
    check_lie("bad-signature", told=told)
    check_lie("bad-signature", told=story().told[BOB].with_sections(first, second._replace(roots=(us.root,))))


def test_a_recipient_list_that_never_came() -> None:
    client = Client(story(), LAST)
    delta = story().delta(BOB, client.follower.cursor)
    client.take(delta._replace(sets=()))  # they came with earlier epochs
    stranger = Client(story(), 0)
    delta = story().delta(BOB)
    for left_out in range(len(delta.sets)):
        kept = (*delta.sets[:left_out], *delta.sets[left_out + 1 :])
        stranger.refuses(delta._replace(sets=kept), "unknown-recipients")
    stranger.take(delta)


def test_more_records_than_the_state_has() -> None:
    check_lie("bad-history", 1, state=story().told[BOB].histories[1].state, tail=())


def test_the_past_grows() -> None:
    """Epoch 3 was verified as one in which nothing had arrived."""
    late = Placed(letter("alice", 9, b"late"))
    only_late = story().told[BOB].upto(2).then(3, late)
    check_lie("mailbox-rollback", 4, told=only_late)
    with_news = story().told[BOB].upto(2).then(3, late).then(LAST, *honest())
    check_lie("bad-history", 4, told=with_news)
    client = Client(story(), 3)
    client.take(story().delta(BOB, client.follower.cursor, told=only_late))  # who has not verified it cannot know


def test_a_mailbox_does_not_begin_in_the_past() -> None:
    late, news = Placed(letter("alice", 9, b"?", to=("alice", "dave"))), letter("alice", 10, b"!", to=("alice", "dave"))
    liar = tell_story()
    for bundle in (late.bundle, news):
        liar.sets.update((recipients.root, recipients) for recipients in bundle.recipients)
    client = Client(liar, LAST, DAVE)
    for told in (Told(DAVE).then(3, late), Told(DAVE).then(3, late).then(LAST, Placed(news))):
        client.refuses(liar.delta(DAVE, client.follower.cursor, told=told), "bad-history")
    client.take(liar.delta(DAVE, client.follower.cursor, told=Told(DAVE).then(LAST, Placed(news))))


def test_the_first_record_is_of_the_first_epoch() -> None:
    told = Told(BOB).then(2, *honest_first())
    check_lie("bad-history", 0, told=told, state=told.state._replace(since_epoch=1))


def honest_first() -> list[Placed]:
    return [Placed(letter("alice", 1, b"one", b"two", own=8))]


def busy_story(n_records: int, n_empty: int = 0) -> Liar:
    """A record for bob in each epoch, then empty ones."""
    liar = Liar()
    for number in range(n_records):
        liar.commit(letter("alice", number + 1, b"%d" % number))
    for _ in range(n_empty):
        liar.commit()
    return liar


@pytest.mark.parametrize("page", [1, 2, 3])
def test_the_history_behind_a_page_changes(page: int) -> None:
    """In the middle of catching up, the history that is still to come is told in another way than it was committed to.

    The new state is rightly signed, and history leads to its root; but not through the state that was trusted.
    """
    for altered in range(page, 6):
        liar = busy_story(6)
        client = Client(liar, 0)
        client.take(liar.delta(BOB, client.follower.cursor, records_max=page))
        assert client.follower.cursor[2:4] == (6, page)
        liar.commit(letter("alice", 7, b"6"))
        true = liar.told[BOB]
        told = true.upto(altered).then(altered, Placed(letter("alice", altered + 1, b"another")))
        for number in range(altered + 1, 7):
            told = told.then(number, Placed(letter("alice", number + 1, b"%d" % number)))
        assert told.state.hist_root != true.state.hist_root
        cursor = client.follower.cursor
        for records_max in range(1, 7 - page + 1):
            client.refuses(liar.delta(BOB, cursor, told=told, records_max=records_max), "bad-history")
        for hist_size in (page, 7):  # cut elsewhere
            wrong_cut = liar.delta(BOB, cursor._replace(hist_size=hist_size), told=told, records_max=1)
            with pytest.raises(ProviderMisbehaved):
                client.take(wrong_cut)
        while client.follower.cursor.hist_next < 7:
            client.take(liar.delta(BOB, client.follower.cursor, records_max=1))
        assert client.texts == [b"%d" % n for n in range(7)]


def test_hashes_behind_a_page() -> None:
    """Too many, too few, or others."""
    liar = busy_story(9)
    client = Client(liar, 0)
    client.take(liar.delta(BOB, client.follower.cursor, records_max=2))
    liar.commit(letter("alice", 10, b"9"))
    cursor = client.follower.cursor
    tail = liar.delta(BOB, cursor, records_max=1).tail_hashes
    leaves = liar.told[BOB].leaf_hashes
    assert tail == (leaves[3], tree_root(leaves[4:8]), leaves[8], leaves[9])
    for code, wrong in (
        ("bad-proof", ()),
        ("bad-proof", tail[:-1]),
        ("bad-history", tail[1:]),
        ("bad-proof", (*tail, bytes(32))),
        ("bad-history", (bytes(32), *tail[1:])),
        ("bad-history", (*tail[:-1], bytes(32))),
        ("bad-history", (tail[0], tail[1], tail[3], tail[2])),
        ("bad-history", (leaves[3], tree_root(leaves[4:8]), tree_root(leaves[8:10]))),
    ):
        client.refuses(liar.delta(BOB, cursor, records_max=1, lie=Lie(tail=wrong)), code)
    complete = liar.delta(BOB, cursor)
    assert complete.tail_hashes == ()
    client.refuses(complete._replace(tail_hashes=(leaf_hash(b""),)), "bad-history")
    client.take(complete)


def test_the_past_grows_behind_a_page() -> None:
    """Epochs 4 and 5 were verified as empty while the client was catching up. Much later a record of epoch 4 comes."""
    liar = busy_story(4, n_empty=2)
    client = Client(liar, 0)
    client.take(liar.delta(BOB, client.follower.cursor, records_max=2))
    liar.commit()
    late, news = Placed(letter("alice", 5, b"late")), letter("alice", 6, b"news")
    liar.commit(news)
    told = liar.told[BOB].upto(4).then(4, late).then(7, Placed(news))
    client.take(liar.delta(BOB, client.follower.cursor, told=told, records_max=1))
    assert client.follower.trusted.bounds == (Bound(4, 6),)
    client.take(liar.delta(BOB, client.follower.cursor, told=told, records_max=1))
    client.refuses(liar.delta(BOB, client.follower.cursor, told=told, records_max=1), "bad-history")
    client.refuses(liar.delta(BOB, client.follower.cursor, told=told, records_max=2), "bad-history")


def test_bounds_are_let_go() -> None:
    """As the client catches up with states that grow meanwhile, nothing piles up."""
    liar = busy_story(4)
    client = Client(liar, 0)
    ctr = 4
    while client.follower.cursor.hist_next < len(liar.told[BOB].entries):
        client.take(liar.delta(BOB, client.follower.cursor, records_max=2))
        bounds = client.follower.trusted.bounds
        assert list(bounds) == sorted(set(bounds))
        assert all(client.follower.cursor.hist_next <= bound.hist_size for bound in bounds)
        if ctr < 10:
            ctr += 1
            liar.commit(letter("alice", ctr, b"%d" % ctr))
    assert client.follower.trusted.bounds == ()
    assert client.follower.trusted.delivered and client.follower.trusted.delivered.state == liar.told[BOB].state


def test_what_one_follower_cannot_see() -> None:
    """A message that is left out consistently, or put before another: found by comparing mailboxes, never by one."""
    six, eight = (placed.bundle for placed in honest())
    for placed in (
        [Placed(six)],
        [Placed(eight)],
        [Placed(six, 0, (1,))],
        [Placed(eight), Placed(six, 1)],
        [Placed(six, 100), Placed(eight, 200)],
    ):
        client = Client(story(), LAST)
        client.take(story().delta(BOB, client.follower.cursor, told=before().then(LAST, *placed)))
