"""``python -m deployments.cli.names``: the targets of pra.toml, one a line, for ``quickstart.sh``."""

from __future__ import annotations

import sys

from deployments.cli.output import write_error
from pra.errors import PraError
from pra.settings import load_settings


def main() -> int:
    """Print them. Exit 64 where there is none, or the settings cannot be used."""
    try:
        settings = load_settings()
        if not settings.targets:
            settings.target()  # raises, with what to do
    except PraError as error:
        write_error(error, as_json=False)
        return error.exit_code
    sys.stdout.write("".join(f"{name}\n" for name in settings.targets))
    return 0


if __name__ == "__main__":
    sys.exit(main())
