"""What a test needs and a machine may lack."""

from __future__ import annotations

import os

import pytest


def require(name: str, present: bool) -> None:
    """Skip the test when ``name`` is absent; fail it under ``PRA_REQUIRE_ALL=1``.

    A run that must cover everything must not be green because half of it was missing.
    """
    if present:
        return
    if os.environ.get("PRA_REQUIRE_ALL") == "1":
        pytest.fail(f"{name} is required (PRA_REQUIRE_ALL=1) and absent")
    pytest.skip(f"{name} is absent")
