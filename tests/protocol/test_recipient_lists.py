"""Both ends of a connection remember the same recipient lists, whatever comes and however much of it."""

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from noise.protocol.delta import RecipientLists
from noise.protocol.envelope import Recipients, RecipientSet
from noise.protocol.limits import CONNECTION_RECIPIENT_IDS_MAX, RECIPIENTS_MAX
from tests.vectors.cast import filler

SIZES = [1, 2, 3, 5, 700, 900, *[RECIPIENTS_MAX] * 6]


def list_of_size(number: int, size: int) -> Recipients:
    ids = sorted(filler(f"list {number} device {i}", 32) for i in range(size))
    return Recipients(RecipientSet(filler(f"salt {number}", 16), tuple(ids)))


LISTS = [list_of_size(number, size) for number, size in enumerate(SIZES)]


class Ends:
    """A server and a client, and what crosses between them."""

    def __init__(self) -> None:
        self.server, self.client = RecipientLists(), RecipientLists()

    def deliver(self, wanted: Sequence[int]) -> int:
        """One delta that refers to these lists; how many of them it had to bring."""
        by_root = {LISTS[i].root: LISTS[i] for i in wanted}
        brought = self.server.unknown(by_root)
        self.server.admit(brought)
        on_the_wire = [Recipients(RecipientSet(r.env_salt, r.device_ids)) for r in brought]
        here = {r.root: r for r in on_the_wire}
        for root, members in by_root.items():
            found = here.get(root) or self.client.get(root)
            assert found is not None, "the delta refers to a list that the client does not have"
            assert found.device_ids == members.device_ids
        self.client.admit(on_the_wire)
        self.check_in_step()
        return len(brought)

    def check_in_step(self) -> None:
        for members in LISTS:
            assert (self.server.get(members.root) is None) == (self.client.get(members.root) is None)
        remembered = [list(end._lists) for end in (self.server, self.client)]
        assert remembered[0] == remembered[1]
        for end in (self.server, self.client):
            ids = sum(len(members.device_ids) for members in end._lists.values())
            assert ids == end._ids <= CONNECTION_RECIPIENT_IDS_MAX


@given(st.lists(st.lists(st.integers(0, len(LISTS) - 1), max_size=5), max_size=8))
@settings(max_examples=25)
def test_both_ends_stay_in_step(deltas: list[list[int]]) -> None:
    ends = Ends()
    for wanted in deltas:
        ends.deliver(wanted)


def test_a_list_is_sent_once() -> None:
    ends = Ends()
    assert [ends.deliver([0, 1]), ends.deliver([0, 1]), ends.deliver([1, 2]), ends.deliver([])] == [2, 0, 1, 0]


def test_the_oldest_goes_first_however_often_it_is_used() -> None:
    ends = Ends()
    first, *others = range(6, 12)
    ends.deliver([first])
    for other in others[:3]:
        assert ends.deliver([first, other]) == 1
    assert ends.deliver([first, others[3]]) == 1  # the fifth: used by this very delta, the first is forgotten after it
    assert ends.server.get(LISTS[first].root) is None
    assert ends.deliver([first]) == 1


def test_one_delta_may_need_more_than_can_be_remembered() -> None:
    ends = Ends()
    everything = list(range(len(LISTS)))
    assert ends.deliver(everything) == len(LISTS)
    kept = [i for i in everything if ends.server.get(LISTS[i].root) is not None]
    assert kept == everything[-4:]
    assert ends.deliver(everything) == len(LISTS) - 4
    assert [ends.deliver([0]), ends.deliver([8])] == [0, 1]  # the others pushed out those that stayed before


def test_admitting_twice_counts_once() -> None:
    lists = RecipientLists()
    for _ in range(3):
        lists.admit([LISTS[0], LISTS[0], LISTS[1]])
    assert lists._ids == 1 + 2
    assert lists.unknown({r.root: r for r in LISTS[:3]}) == [LISTS[2]]
