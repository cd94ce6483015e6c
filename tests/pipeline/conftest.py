"""Providers in files whose clients have talked.

Knows nothing of what a test does to them.
"""

from pathlib import Path

import pytest

from noise.node import create_node
from tests.pipeline.company import Company


@pytest.fixture(params=[False, True], ids=["together", "apart"])
async def company(request: pytest.FixtureRequest, tmp_path: Path) -> Company:
    """Of a provider whose clients have talked."""
    made = Company(tmp_path / "the data")
    await create_node(made.data, apart=request.param)
    await made.talk()
    return made


@pytest.fixture
async def apart(tmp_path: Path) -> Company:
    made = Company(tmp_path / "the data")
    await create_node(made.data, apart=True)
    await made.talk()
    return made
