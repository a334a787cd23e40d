"""A backup written by an earlier release still restores, and passes its checks."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.fix_cluster import Cluster
from tests.fix_operator import Operator

SAMPLES = sorted((Path(__file__).parents[1] / "data").glob("repository-v*"))


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.name)
def test_stored_sample_is_proven_again(operator: Operator, pg18: Cluster, sample: Path) -> None:
    operator.protect(pg18, "no_such_database", repositories=("local",))  # production is not needed
    settings = operator.home / "pra.toml"
    trusted = (sample / "trusted.txt").read_text().strip()
    settings.write_text(f'{settings.read_text()}\n[signing]\ntrusted = ["{trusted}"]\n')
    shutil.copytree(sample / "akig", operator.home / "local/akig")
    ran = operator.pra("backups", "--json")
    # The newer one is encrypted for a key that was thrown away.
    plain = min(item["backup_id"] for item in ran.document["items"])
    verified = operator.pra("verify", "--backup", plain, "--json").document
    assert verified["verdict"] == "PASS", verified["checks"]
