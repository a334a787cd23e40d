"""The streamer of a rehearsal, a process of its own: a disaster has to be able to kill it.

``python -m pra.drill.streaming TARGET``, with the settings that ``PRA_CONFIG`` names.
"""

from __future__ import annotations

import logging
import sys
import threading

from pra.errors import PraError
from pra.proc import Scope
from pra.procedures import wal
from pra.procedures.context import Context
from pra.settings import load_settings


def main() -> int:
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s: %(message)s"
    )
    settings = load_settings()
    try:
        with Scope() as scope:
            wal.stream(Context(settings, settings.target(sys.argv[1]), scope), threading.Event())
    except PraError as error:
        logging.error("%s", error)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
