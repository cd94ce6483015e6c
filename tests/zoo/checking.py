"""What must be true of an evening with a liar: who noticed what, and which actor it comes down to.

Knows nothing of how lies are made. What is to be expected of each is in FACTS.
"""

from noise.demo.zoo.lie import MIDDLE, Facts
from noise.protocol.evidence.blame import UNRESPONSIVE, Blame
from noise.protocol.evidence.verdict import PROVIDER
from noise.protocol.identifiers import Role
from noise_client import Verdict
from tests.zoo.convicting import ALICE, STALE, Case, is_provable, knowing

EPOCHS_MAX = 25
"""In which a lie must be out. The clients talk all the time, three bundles a round."""


def check_noticed(case: Case, facts: Facts) -> None:
    """The right ones know the right thing, in time, and nothing else was found: but two logs contradict each other in
    everything."""
    known_to = knowing(facts)
    epochs = case.epochs_until(*known_to)
    assert epochs is not None, case.judgements
    assert facts.verdicts[0] == STALE or 0 <= epochs <= EPOCHS_MAX
    for name in known_to:
        assert case.judgements[name].verdict is (Verdict.EXPOSED if is_provable(facts) else Verdict(facts.verdicts[0]))
    for proofs in case.proofs.values() if facts.name != "fork" else ():
        assert {case.judge(proof).kind for proof in proofs} <= set(facts.verdicts)
        assert {case.judge(proof).accused.split("-")[0] for proof in proofs} <= {facts.accused}
    if not is_provable(facts):
        assert not any(case.proofs.values())
        assert case.judgements[ALICE].verdict is Verdict.OK


def check_blame(case: Case, role: Role | None = None) -> None:
    """Every proof comes down to an actor of this role that lied, the first on its way, and strangers see it, too.

    Of what no actor of the pipeline signed as a message's way, proofs name whom they always did.
    """
    assert case.facts is not None
    for proof in {proof for kept in case.proofs.values() for proof in kept}:
        blame = case.blame(proof)
        if role not in {*MIDDLE, Role.INBOX}:
            assert blame.actor == case.judge(proof).accused
        elif not case.facts.kind_by(role):
            assert blame.actor == PROVIDER
        else:
            check_named(case, blame, role)


def check_named(case: Case, blame: Blame, role: Role) -> None:
    assert case.facts is not None
    assert (blame.kind, blame.is_proven) == (case.facts.kind_by(role), True), blame
    assert blame.actor in {str(told.by) for told in case.told if told.by is not None and told.by.role is role}
    verdict = case.judge(blame.proof)
    assert (verdict.kind, verdict.accused, verdict.epoch, verdict.way) == (
        blame.kind,
        blame.actor,
        blame.epoch,
        blame.way,
    )
    assert blame.epoch in {told.epoch for told in case.told}
    assert [step.actor for step in blame.way if step.is_lie] == [blame.actor] * bool(blame.way)


def check_unresponsive(case: Case, blame: Blame) -> None:
    """The liar shows nothing, nor does anybody else show what it signed: that is said of it, and no more."""
    [liar] = {told.by for told in case.told}
    assert (blame.kind, blame.actor, blame.is_proven, blame.proof) == (UNRESPONSIVE, str(liar), False, b"")
