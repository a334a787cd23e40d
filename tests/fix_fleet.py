"""A pra.toml of many targets. No server is asked: what is registered is another matter than what runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pra.settings import Settings, load_settings

_TARGET = """
[targets.{name}]
dsn = "postgresql://backup@127.0.0.1:5432/{name}"
engine = "{engine}"
repositories = ["local"]
"""


def configure(
    file: Path, targets: Sequence[str], *, engine: str = "logical", language: str = "en"
) -> Settings:
    """Write it and read it; the state lies beside it. Call it again after a change of mind."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(
        f'language = "{language}"\n[repositories.local]\nurl = "file://{file.parent / "local"}"\n'
        + "".join(_TARGET.format(name=name, engine=engine) for name in targets)
    )
    return load_settings(file, {"PRA_STATE_DIR": str(file.parent / "state")})
