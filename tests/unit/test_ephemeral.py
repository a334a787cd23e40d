"""Folders that die with their owner."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from pra.ephemeral import ephemeral, sweep


def test_the_folder_is_private_and_gone_afterwards(tmp_path: Path) -> None:
    with ephemeral(tmp_path, "x-") as folder:
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / "plaintext").write_text("…")
    assert list(tmp_path.iterdir()) == []


def test_a_living_owner_is_left_alone_and_a_killed_one_is_swept(tmp_path: Path) -> None:
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom pra.ephemeral import ephemeral\n"
        f"with ephemeral(Path({str(tmp_path)!r}), 'x-') as f:\n    print(f, flush=True)\n    time.sleep(300)"
    )
    owner = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert owner.stdout is not None
        folder = Path(owner.stdout.readline().strip())
        assert sweep(tmp_path, "x-") == []
        owner.kill()
        owner.wait(10)
        assert sweep(tmp_path, "x-") == [folder]
        assert not folder.exists()
    finally:
        owner.kill()
        owner.wait(10)


def test_a_folder_without_a_lock_is_swept_once_it_is_old(tmp_path: Path) -> None:
    young, old = tmp_path / "x-young", tmp_path / "x-old"
    young.mkdir()
    old.mkdir()
    os.utime(old, (0, 0))
    assert sweep(tmp_path, "x-") == [old]
    assert young.exists()
