"""Verification of base backups: exact at a cut, rolled on to the target, never green without the comparison."""

from __future__ import annotations

import pytest

from pra.model import Status, Verdict
from tests.fix_world import World, complaints, failed


def test_a_quiet_server_needs_no_streamer_to_be_proven(physical_world: World) -> None:
    physical_world.backup()
    report = physical_world.verify()
    assert report.verdict is Verdict.PASS, complaints(report)
    assert {check.name for check in report.checks} >= {"fingerprint", "recovery", "page-checksums", "amcheck"}
