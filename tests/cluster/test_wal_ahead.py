"""WAL fetched ahead: what keeps a segment from being served is said by name, with what to do."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from pra.errors import PraError, SpaceError
from pra.postgres.wal import SEGMENT_BYTES
from pra.proc import Scope
from pra.wal.ahead import WalAhead
from tests.fix_recovery import TARGET, Recoverable
from tests.fix_stream import wait_until


def test_a_full_disk_says_so(ten: Recoverable, small_disk: Path) -> None:
    folder = small_disk / "wal"
    failures: list[PraError] = []

    def failed() -> bool:
        try:
            ahead.check()
        except PraError as error:
            failures.append(error)
        return bool(failures)

    with (
        Scope() as scope,
        WalAhead(
            ten.storage, TARGET, ten.archive, ten.names, folder, scope=scope, identities=(),
            segment_bytes=SEGMENT_BYTES,
        ) as ahead,
    ):  # fmt: skip
        (folder / "asked").write_text(f"{ten.names[0]}\n")
        wait_until(failed, what="the disk is full")
        assert not (folder / "go").exists(), "the server would wait on"
    assert isinstance(failures[0], SpaceError)
    assert "Free space below" in failures[0].hint


def test_a_segment_given_up_between_the_look_and_the_copy_is_waited_for(
    ten: Recoverable, tmp_path: Path
) -> None:
    """A server that starts again asks for what the start before it had read, while that is being given up."""
    name, folder, place = ten.names[0], tmp_path / "wal", tmp_path / "restored"
    shims = tmp_path / "bin"
    shims.mkdir()
    shim = shims / "cp"
    shim.write_text(
        f'#!/bin/sh\n[ -e {tmp_path}/tried ] && exec {shutil.which("cp")} "$@"\n'
        f'touch {tmp_path}/tried; mv "$1" {tmp_path}/aside\n'
        f'(sleep 0.3; mv {tmp_path}/aside "$1") >/dev/null 2>&1 &\nexit 1\n'
    )
    shim.chmod(0o755)
    with (
        Scope() as scope,
        WalAhead(
            ten.storage, TARGET, ten.archive, ten.names, folder, scope=scope, identities=(),
            segment_bytes=SEGMENT_BYTES,
        ) as ahead,
    ):  # fmt: skip
        command = ahead.restore_command.replace("%f", name).replace("%p", str(place)).replace("%%", "%")
        env = {"PATH": f"{shims}:{os.environ['PATH']}"}
        done = subprocess.run(["/bin/sh", "-c", command], env=env, timeout=60, check=False)
        assert done.returncode == 0
        assert (tmp_path / "tried").exists()
    assert place.stat().st_size == SEGMENT_BYTES
