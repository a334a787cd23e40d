"""``make docs``: the flows' pictures, the example's runbooks, the API reference into ``build/reference``."""

from __future__ import annotations

from pathlib import Path

import typer

from deployments.documents.pictures import pictures
from deployments.documents.reference import INDEX, pages
from deployments.documents.runbooks import runbooks

ROOT = Path(__file__).parents[2]
PICTURES = ROOT / "docs/pictures"


def main() -> None:
    """Write all, and say where; a picture whose flow is gone goes, too."""
    drawn = pictures(ROOT)
    PICTURES.mkdir(exist_ok=True)
    for old in PICTURES.glob("*.svg"):
        if old.name not in drawn:
            old.unlink()
    for name, picture in drawn.items():
        (PICTURES / name).write_text(picture)
    for file, text in runbooks(ROOT).items():
        (ROOT / file).write_text(text)
    folder = ROOT / "build/reference"
    folder.mkdir(parents=True, exist_ok=True)
    for name, page in pages(ROOT).items():
        (folder / name).write_text(page)
    typer.echo(f"{len(drawn)} pictures in {PICTURES}; the reference begins at {folder / INDEX}")


if __name__ == "__main__":
    main()
