"""Files that are replaced in one step: what stands under a name is always whole.

May import: nothing.  May be imported by: saving, safetensors, data.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A new file, open for writing, that takes the name `path` when the block ends, and is gone when the block fails.

    The content is on the disk before the name changes, so that a crash at any point leaves the old file or the new one.
    A link is followed: its target is replaced.

    Raises: FileNotFoundError when the folder is not there; other OSErrors of the file system.

    Example:
        >>> import tempfile
        >>> with replacing(os.path.join(tempfile.mkdtemp(), "note.txt")) as file:
        ...     _ = file.write(b"all or nothing")
    """
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{target.name[:100]}.{secrets.token_hex(8)}.tmp")
    # Unlike tempfile's, the mode follows the user's umask: others may read what the user lets them read.
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
        raise
    if os.name == "posix":  # the change of name is on the disk only once the folder is
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
