"""Reasons come and go; the judgement is always the gravest of those that hold, with all of them."""

from hypothesis import given, settings
from hypothesis import strategies as st

from noise_client.verdicts import FINE, Docket, Judgement, Reason, Verdict

STALE, SUSPECTED, EXPOSED = Reason("stale", "s"), Reason("peer-differs", "d"), Reason("omission", "o")


def test_without_a_reason_everything_is_fine() -> None:
    assert Docket().judgement == FINE == Judgement(Verdict.OK, ())


def test_the_gravest_reason_decides_and_stands_first() -> None:
    docket = Docket()
    seen = []
    for verdict, reason in [(Verdict.STALE, STALE), (Verdict.SUSPECTED, SUSPECTED), (Verdict.EXPOSED, EXPOSED)]:
        docket.add(verdict, reason.code, reason)
        seen.append(docket.judgement)
    assert seen == [
        Judgement(Verdict.STALE, (STALE,)),
        Judgement(Verdict.SUSPECTED, (SUSPECTED, STALE)),
        Judgement(Verdict.EXPOSED, (EXPOSED, SUSPECTED, STALE)),
    ]


def test_a_reason_that_is_gone_leaves_the_others() -> None:
    docket = Docket()
    docket.add(Verdict.STALE, "a", STALE)
    docket.add(Verdict.SUSPECTED, "b", SUSPECTED)
    docket.remove(Verdict.SUSPECTED, "b")
    assert docket.judgement == Judgement(Verdict.STALE, (STALE,))
    docket.remove(Verdict.STALE, "a")
    assert docket.judgement == FINE


def test_a_key_holds_one_reason_of_a_kind_and_is_removed_of_that_kind_only() -> None:
    docket = Docket()
    docket.add(Verdict.SUSPECTED, "k", SUSPECTED)
    docket.add(Verdict.EXPOSED, "k", EXPOSED)
    docket.add(Verdict.SUSPECTED, "k", STALE)
    seen = [docket.judgement.reasons]
    for verdict in (Verdict.STALE, Verdict.SUSPECTED):
        docket.remove(verdict, "k")
        seen.append(docket.judgement.reasons)
    assert seen == [(EXPOSED, STALE), (EXPOSED, STALE), (EXPOSED,)]


def test_a_judgement_that_was_shown_never_changes() -> None:
    docket = Docket()
    docket.add(Verdict.STALE, "a", STALE)
    shown = docket.judgement
    docket.remove(Verdict.STALE, "none")
    assert docket.judgement is shown
    docket.add(Verdict.SUSPECTED, "b", SUSPECTED)
    assert shown == Judgement(Verdict.STALE, (STALE,))
    assert docket.judgement is not shown


KEYS = st.sampled_from("abc")
VERDICTS = st.sampled_from([Verdict.STALE, Verdict.SUSPECTED, Verdict.EXPOSED])


@given(st.lists(st.tuples(st.booleans(), VERDICTS, KEYS, st.integers(0, 9)), max_size=20))
@settings(max_examples=100, deadline=None)
def test_the_judgement_is_what_holds_however_it_came(steps: list[tuple[bool, Verdict, str, int]]) -> None:
    docket, held = Docket(), dict[tuple[Verdict, str], Reason]()
    for is_added, verdict, key, n in steps:
        if is_added:
            held[verdict, key] = Reason(key, str(n))
            docket.add(verdict, key, held[verdict, key])
        else:
            held.pop((verdict, key), None)
            docket.remove(verdict, key)
        gravity = [Verdict.EXPOSED, Verdict.SUSPECTED, Verdict.STALE, Verdict.OK]
        expected = min((verdict for verdict, _ in held), key=gravity.index, default=Verdict.OK)
        assert docket.judgement.verdict is expected
        assert sorted(docket.judgement.reasons) == sorted(held.values())
