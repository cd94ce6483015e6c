"""The devices of these tests, settings for the impatient, and what an application does with deliveries.

Must not know: what a provider does.
"""

from noise_client import Client, Device, Settings
from tests.vectors.cast import seed_of

ALICE, BOB = Device(seed_of("alice")), Device(seed_of("bob"))
QUICK = Settings(backoff_first_s=0.01, backoff_max_s=0.05, ack_quiet_s=0.01, close_timeout_s=5, seal=False)
NOBODY = "http://127.0.0.1:9"  # the discard port: nothing listens there


async def take(client: Client, count: int) -> list[bytes]:
    """The data of so many deliveries."""
    got: list[bytes] = []
    async for delivery in client.deliveries(deadline_s=10):
        got.append(delivery.data)
        if len(got) == count:
            break
    return got
