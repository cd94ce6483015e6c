"""The Python SDK of noise, on Trio: send and receive through a provider that nobody has to trust.

Its front door is `open_client`. Knows nothing of the server: of noise it imports `noise.protocol` only.
"""

from noise.protocol.errors import NoiseError, ProviderMisbehaved, Rejected
from noise.protocol.evidence.blame import Blame
from noise_client.client import Client, open_client
from noise_client.device import Device, create_device
from noise_client.errors import ClientClosed, DeadlineExceeded, LinkError, TrustStoreError
from noise_client.evidence_store import KeptProof
from noise_client.retention import Cumulative, Layered, Policy, Stability, Window
from noise_client.sending import Receipt, Sending
from noise_client.settings import Settings
from noise_client.states import ClientState
from noise_client.trust_store import Delivery, Offence, Seal, TrustStore
from noise_client.trust_store_memory import MemoryTrustStore
from noise_client.trust_store_sqlite import SqliteTrustStore, create_device_file
from noise_client.verdicts import Judgement, Reason, Verdict

__all__ = [
    "Blame",
    "Client",
    "ClientClosed",
    "ClientState",
    "Cumulative",
    "DeadlineExceeded",
    "Delivery",
    "Device",
    "Judgement",
    "KeptProof",
    "Layered",
    "LinkError",
    "MemoryTrustStore",
    "NoiseError",
    "Offence",
    "Policy",
    "ProviderMisbehaved",
    "Reason",
    "Receipt",
    "Rejected",
    "Seal",
    "Sending",
    "Settings",
    "SqliteTrustStore",
    "Stability",
    "TrustStore",
    "TrustStoreError",
    "Verdict",
    "Window",
    "create_device",
    "create_device_file",
    "open_client",
]
