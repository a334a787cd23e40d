"""A connection pooler between us and the server."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.fix_cluster import Cluster, free_port, unprivileged_account
from tests.requirements import require

_INI = """\
[databases]
* = host={host} port={port} user={user}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
"""


@contextmanager
def pooler(server: Cluster, mode: str) -> Iterator[str]:
    """pgbouncer in this mode before ``server``; yields ``host=… port=…``."""
    program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    require("pgbouncer", program is not None)
    listen = free_port()
    # Beside the server's data: there the server's account, as which it has to run, can read.
    config = server.directory / f"pgbouncer-{listen}.ini"
    config.write_text(
        _INI.format(host=server.directory, port=server.port, user=server.superuser, listen=listen, mode=mode)
    )
    log = config.with_suffix(".log").open("w+b")
    process = subprocess.Popen(
        [str(program), str(config)], stdout=log, stderr=log, user=unprivileged_account(), cwd="/"
    )
    try:
        deadline = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", listen), 1).close()
                break
            except OSError:
                assert process.poll() is None, Path(log.name).read_text()
                assert time.monotonic() < deadline
                time.sleep(0.05)
        yield f"host=127.0.0.1 port={listen}"
    finally:
        process.terminate()
        process.wait(10)
        log.close()
