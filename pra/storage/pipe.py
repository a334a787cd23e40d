"""Bytes on their way into a repository and back: read → zstd → age → hash → file, and the reverse.

What is stored are zstd frames, inside one age file unless there are no recipients. So
``age -d | zstd -d`` recovers it without this software. One thread reads and compresses, another
encrypts, hashes and writes; on the way back one decrypts, one decompresses, and whoever reads hashes. What
waits between them is bounded.
"""

from __future__ import annotations

from pra.storage.sealing import seal
from pra.storage.unsealing import Pieces, unseal, unseal_pieces, verify_stored

__all__ = ["Pieces", "seal", "unseal", "unseal_pieces", "verify_stored"]
