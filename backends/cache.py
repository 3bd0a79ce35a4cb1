"""Compiled objects on disk: a bounded store of checksummed entries, shared by processes.

An entry is a file named by its key, the digest of all that the machine code depends on (`digest`, `fingerprint`): header, checksum,
a JSON record, object code.  It holds no address and no pickle.  Files are written beside their place and renamed into it, so that
any number of processes can read, write and evict at once.  An entry that is damaged, cut short or of another format is removed and
made anew; a folder that others could write to is not used at all.

Set FDL_CACHE_DIR to move the store, to nothing ("") to do without one; FDL_CACHE_BYTES bounds it (1 GiB).

May be imported by: `executable`, and the LLVM backend's engine.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import logging
import os
import platform
import secrets
import stat
import struct
import sys
import threading
from pathlib import Path
from typing import Any

import llvmlite
import llvmlite.binding as llvm

from fdl.tracer.records import dataclass

MAGIC = b"fdlobj1\n"
SUFFIX = ".fdlobj"
DEFAULT_BYTES = 1 << 30
KEEP = 0.75
"""The share of the bound that eviction leaves: so that it is rare."""
_HEADER = struct.Struct("<8s32sQQ")
"""Magic, checksum of what follows it, length of the record, length of the object."""
log = logging.getLogger("fdl.cache")


@dataclass(frozen=True, slots=True)
class Entry:
    """What is stored under a key: a record of JSON values, and object code."""

    record: dict[str, Any]
    code: bytes


def digest(*parts: str | bytes) -> str:
    """A key: the hash of the parts, each with its length, so that no two lists of parts are alike."""
    h = hashlib.blake2b(digest_size=20)
    for part in parts:
        raw = part.encode() if isinstance(part, str) else part
        h.update(struct.pack("<Q", len(raw)))
        h.update(raw)
    return h.hexdigest()


@functools.cache
def generator() -> str:
    """What turns LLVM IR into objects, and for what kind of machine."""
    return f"{platform.machine()} {sys.platform} llvmlite {llvmlite.__version__} LLVM {llvm.llvm_version_info}"


@functools.cache
def fingerprint() -> str:
    """The digest of what the object of a program depends on besides the program: fdl's own sources, and the code generator.

    Sources count by name, size and time of change: reading them all would cost more than a hit saves.
    """
    root = Path(__file__).resolve().parent
    facts: list[str] = [generator()]
    for folder in (root, root.parent / "tracer"):
        for path in sorted(folder.rglob("*.py")):
            found = path.stat()
            facts.append(f"{path.relative_to(folder.parent)} {found.st_size} {found.st_mtime_ns}")
    return digest(*facts)


class Store:
    """A folder of entries of at most `limit` bytes; the least recently used ones go first."""

    def __init__(self, folder: str | os.PathLike[str], limit: int = DEFAULT_BYTES) -> None:
        self.folder = Path(folder)
        self.limit = limit
        self._lock = threading.Lock()
        self._size: int | None = None
        self._usable: bool | None = None

    def path(self, key: str) -> Path:
        """The file of a key."""
        return self.folder / f"{key}{SUFFIX}"

    def get(self, key: str) -> Entry | None:
        """The entry of `key`, or None. A damaged one is removed."""
        if not self.usable():
            return None
        path = self.path(key)
        try:
            raw = path.read_bytes()
        except OSError:
            return None
        entry = _unpacked(raw)
        if entry is None:
            log.warning("the cached object %s is damaged: it is removed, and compiled anew", path)
            with contextlib.suppress(OSError):
                path.unlink()
            return None
        with contextlib.suppress(OSError):  # recently used; where the time cannot be set it goes a little early
            os.utime(path)
        return entry

    def put(self, key: str, entry: Entry) -> None:
        """Stores an entry. A store that cannot be written to (read-only, full) is left as it is: a cache is only a help."""
        if not self.usable():
            return
        raw = _packed(entry)
        if len(raw) > self.limit * KEEP:
            return
        path = self.path(key)
        temporary = self.folder / f".{key}.{secrets.token_hex(6)}.tmp"
        try:
            # No fsync: what a crash leaves behind has a wrong checksum.
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(raw)
            os.replace(temporary, path)
        except OSError as error:
            log.info("a compiled object could not be stored in %s: %s", self.folder, error)
            with contextlib.suppress(OSError):
                temporary.unlink()
            return
        with self._lock:
            self._size = self._measured() if self._size is None else self._size + len(raw)
            if self._size > self.limit:
                self._size = self._evict()

    def clear(self) -> None:
        """Removes every entry."""
        for path, _, _ in self._entries():
            with contextlib.suppress(OSError):
                path.unlink()
        with self._lock:
            self._size = 0

    def usable(self) -> bool:
        """Whether the folder is there, is this user's, and is writable by nobody else. It is made when it is missing."""
        if self._usable is None:
            self._usable = self._prepared()
        return self._usable

    def _prepared(self) -> bool:
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = self.folder.stat()
        except OSError as error:
            log.info("no object cache: %s", error)
            return False
        if os.name == "posix":
            if found.st_uid != os.getuid():
                log.warning(
                    "the object cache %s belongs to another user: it is not used. Set FDL_CACHE_DIR to a folder of yours.",
                    self.folder,
                )
                return False
            if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                log.warning(
                    "others may write to the object cache %s: it is not used. Make it private (chmod 700).", self.folder
                )
                return False
        return True

    def _entries(self) -> list[tuple[Path, int, float]]:
        """(path, bytes, time of last use) of every entry."""
        found = []
        with contextlib.suppress(OSError), os.scandir(self.folder) as items:
            for item in items:
                with contextlib.suppress(OSError):  # another process may remove it meanwhile
                    if item.name.endswith((SUFFIX, ".tmp")):
                        facts = item.stat()
                        found.append((Path(item.path), facts.st_size, facts.st_mtime))
        return found

    def _measured(self) -> int:
        return sum(size for _, size, _ in self._entries())

    def _evict(self) -> int:
        """Removes the least recently used entries; returns the bytes that are left."""
        entries = sorted(self._entries(), key=lambda e: e[2])
        total = sum(size for _, size, _ in entries)
        for path, size, _ in entries:
            if total <= self.limit * KEEP:
                break
            with contextlib.suppress(OSError):
                path.unlink()
            total -= size
        return total


def _packed(entry: Entry) -> bytes:
    record = json.dumps(entry.record, sort_keys=True, separators=(",", ":")).encode()
    return _HEADER.pack(MAGIC, _checksum(record, entry.code), len(record), len(entry.code)) + record + entry.code


def _unpacked(raw: bytes) -> Entry | None:
    """The entry in a file's bytes, or None where they are not one."""
    if len(raw) < _HEADER.size:
        return None
    magic, checksum, n, m = _HEADER.unpack_from(raw)
    record, code = raw[_HEADER.size : _HEADER.size + n], raw[_HEADER.size + n :]
    if magic != MAGIC or len(record) != n or len(code) != m or _checksum(record, code) != checksum:
        return None
    try:
        found = json.loads(record)
    except ValueError:
        return None
    return Entry(found, code) if isinstance(found, dict) else None


def _checksum(record: bytes, code: bytes) -> bytes:
    h = hashlib.blake2b(digest_size=32)
    for part in (struct.pack("<Q", len(record)), record, code):
        h.update(part)
    return h.digest()


def default_folder() -> Path | None:
    """Where objects are stored: FDL_CACHE_DIR, or fdl's folder in the platform's cache folder; None where it is set to nothing."""
    named = os.environ.get("FDL_CACHE_DIR")
    if named is not None:
        return Path(named) if named else None
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA")
    elif sys.platform == "darwin":
        base = os.path.expanduser("~/Library/Caches")
    else:
        base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(base) / "fdl" / "objects" if base and os.path.isabs(base) else None


@functools.cache
def _store(folder: Path, limit: int) -> Store:
    return Store(folder, limit)


def store() -> Store | None:
    """The process's store, or None where there is none."""
    folder = default_folder()
    if folder is None:
        return None
    given = os.environ.get("FDL_CACHE_BYTES", "")
    return _store(folder, int(given) if given.isdigit() else DEFAULT_BYTES)
