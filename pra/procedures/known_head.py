"""The newest record of evidence, read beside a backup: its manifest carries it, so that a cut tail shows."""

from __future__ import annotations

import logging
import threading
from itertools import islice

from pra.errors import PraError
from pra.manifest import EvidenceHead
from pra.procedures.context import Context

_WAIT_SECONDS = 5.0
_LOOK = 5
_log = logging.getLogger(__name__)


class HeadReading:
    """Reads the head on a thread of its own, from the moment it is made: the backup waits for nothing.

    One listing a repository and, as a rule, one small read. What cannot be read in time is a warning: a
    backup without a head is worth more than none.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._found: EvidenceHead | None = None
        self._thread = threading.Thread(target=self._read, name="evidence head", daemon=True)
        self._thread.start()

    def result(self) -> EvidenceHead | None:
        """The head; None without evidence, and where it could not be read within a few seconds."""
        self._thread.join(_WAIT_SECONDS)
        if self._thread.is_alive():
            _log.warning("the evidence head was not read in time; the manifest goes without")
        return self._found

    def _read(self) -> None:
        try:
            self._found = _newest(self._context)
        except PraError as error:
            _log.warning("the evidence head was not read: %s", error.message)


def _newest(context: Context) -> EvidenceHead | None:
    """The newest record that can be believed: what a stranger put on top must not become known through us."""
    for record in islice(context.evidence.records(), _LOOK):
        if not record.problem:
            return EvidenceHead(sequence=record.sequence, sha256=record.sha256)
        _log.warning("evidence %d of %s: %s", record.sequence, record.repository, record.problem)
    return None
