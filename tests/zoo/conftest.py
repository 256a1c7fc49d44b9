"""Shared by the tests of the zoo: one thread, which is enough for small models."""

import pytest
import torch


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
