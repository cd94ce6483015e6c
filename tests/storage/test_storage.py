"""The storage tool's numbers stand in the order that the policies promise, and its command prints them."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.provider_process import ROOT, client_environment
from tests.storage.measuring import GROUPS, POLICIES, SHORT_WINDOW_EPOCHS, Measurement, measure

N_EPOCHS, N_PER_EPOCH = 12, 3
ALL = 2 * N_EPOCHS * N_PER_EPOCH
SHORT = SHORT_WINDOW_EPOCHS * N_PER_EPOCH
EVIDENCE_BYTES = range(280, 400)
"""For each message: a leaf with its keys is 267 bytes, and of its record's 163 three messages bear a third each."""


@pytest.mark.parametrize("group", GROUPS)
def test_what_each_policy_keeps(tmp_path: Path, group: str) -> None:
    found: dict[str, Measurement] = {}
    for policy in POLICIES:
        found[policy] = measure(tmp_path, policy, group, N_EPOCHS, N_PER_EPOCH)
    whole, short, stability, cumulative, layered = found.values()
    kept = [(one.n_kept_before, one.n_kept_after) for one in found.values()]
    assert kept == [(ALL, ALL), (SHORT, SHORT), (ALL, 0), (0, 0), (ALL, 0)]
    for one in (whole, stability, layered):
        assert round(one.evidence_before) in EVIDENCE_BYTES
        assert one.file_before > one.evidence_before
    assert whole.evidence_after == whole.evidence_before
    for one in (stability, cumulative, layered):
        assert one.evidence_after == 0
        assert one.file_after < whole.file_after / 2
    assert cumulative.evidence_before == short.evidence_before == 0
    assert cumulative.file_before < whole.file_before / 2


def test_the_command_prints_a_table() -> None:
    command = [sys.executable, "-m", "tests.storage", "--epochs", "2", "--per-epoch", "1"]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, cwd=ROOT, env=client_environment(), check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert len(lines) == 2 + len(POLICIES) * len(GROUPS)
    for policy in POLICIES:
        assert sum(line.startswith(policy) for line in lines) == len(GROUPS)
