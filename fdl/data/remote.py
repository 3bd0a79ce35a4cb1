"""What a data set's files are: names, sizes and checksums.

May import: nothing.  May be imported by: the data sets, download.
"""

from __future__ import annotations

import hashlib

from fdl.tracer.records import dataclass


@dataclass(frozen=True, slots=True)
class Remote:
    """A gzip file that mirrors offer under one name, and what it holds when unpacked."""

    name: str
    size: int
    sha256: str


def fault_of(remote: Remote, content: bytes) -> str:
    """What is wrong with a file's unpacked content, in words; "" when it is what `remote` says."""
    if len(content) != remote.size:
        return f"{len(content)} bytes unpacked, expected {remote.size}"
    digest = hashlib.sha256(content).hexdigest()
    if digest != remote.sha256:
        return f"its SHA-256 is {digest[:16]}..., expected {remote.sha256[:16]}..."
    return ""
