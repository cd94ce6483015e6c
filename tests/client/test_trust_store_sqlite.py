"""What only a device file can get wrong: traces on the disk of what it was told to forget, and numbers too large."""

import secrets
from contextlib import closing
from pathlib import Path

import pytest

from noise.protocol.prekeys import ONE_TIME, prekey_id_of
from noise_client import SqliteTrustStore, TrustStoreError, create_device_file
from noise_client.evidence_store import KeptNote, PrivatePrekey
from noise_client.trust_store import QueuedMessage


def test_forgotten_keys_and_sent_text_leave_no_trace(tmp_path: Path) -> None:
    path = tmp_path / "x.device"
    create_device_file(path)
    store = SqliteTrustStore(path)
    keys = [PrivatePrekey(prekey_id_of(n), ONE_TIME, secrets.token_bytes(32), 1) for n in range(1, 60)]
    text = secrets.token_bytes(1600)
    store.save_prekeys(keys)
    store.add_queued([QueuedMessage((bytes(32),), text, 1, 1)])
    store.drop_prekeys([key.prekey_id for key in keys[:30]])
    store.finish(1)
    store.close()
    [file] = tmp_path.iterdir()
    left = file.read_bytes()
    assert [key.private_key in left for key in keys] == [False] * 30 + [True] * 29
    assert not any(text[i : i + 32] in left for i in range(0, len(text), 32))


def test_a_number_beyond_sqlite_is_a_typed_error(tmp_path: Path) -> None:
    """A provider may claim any epoch; what cannot be stored must not leave the client as something else."""
    create_device_file(tmp_path / "x.device")
    with closing(SqliteTrustStore(tmp_path / "x.device")) as store:
        with pytest.raises(TrustStoreError) as refused:
            store.save_note(KeptNote(2**63, b"note", False))
        assert refused.value.code == "number-too-large"
        assert store.notes() == []
