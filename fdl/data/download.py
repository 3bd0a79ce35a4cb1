"""Fetching a file from the first mirror that has it intact, into place atomically, with progress.

Invariant: a file stands under its name only when its content was checked; a download that fails or is interrupted
leaves nothing behind.  May import: tracer, files, idx, remote.  May be imported by: the data sets, where a file is missing: the
modules of the network cost more time than the rest of fdl.data.
"""

from __future__ import annotations

import contextlib
import gzip
import http.client
import sys
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ..files import replacing
from .idx import DataError
from .remote import Remote, fault_of

TIMEOUT = 30.0
"""Seconds without a byte after which a mirror is given up."""

_CHUNK = 1 << 16


def fetch(remote: Remote, mirrors: Sequence[str], folder: Path, *, timeout: float = TIMEOUT) -> Path:
    """The path of `remote` in `folder`, where it now is, taken from the first of `mirrors` that has it intact.

    Args:
        mirrors: addresses of folders, each ending in "/"; tried in order.
        folder: made when it isn't there.
        timeout: seconds without a byte after which a mirror is given up.

    Raises: DataError with one line per mirror that says what went wrong there.
    """
    target = folder / remote.name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(target) as file:
            file.write(_from_any(remote, mirrors, timeout))
    except DataError:
        raise
    except OSError as fault:
        raise DataError(f"cannot write to {folder}: {fault.strerror}. Name another folder in FDL_DATA_DIR.") from fault
    return target


def _from_any(remote: Remote, mirrors: Sequence[str], timeout: float) -> bytes:
    """The packed file from the first of `mirrors` that has it intact."""
    faults = []
    for mirror in mirrors:
        url = mirror + remote.name
        try:
            packed = _get(url, remote, timeout)
            fault = fault_of(remote, gzip.decompress(packed))
        except (urllib.error.URLError, http.client.HTTPException, OSError, EOFError, zlib.error) as error:
            fault = _reason(error)
        if not fault:
            return packed
        faults.append(f"  {url}: {fault}")
    raise DataError("\n".join([f"could not download {remote.name}:", *faults]))


def _reason(error: BaseException) -> str:
    match error:
        case urllib.error.HTTPError():
            error.close()  # it holds the response
            return f"the server answered {error.code} {error.reason}"
        case urllib.error.URLError():
            return f"no connection ({error.reason})"
        case TimeoutError():
            return "no answer in time"
        case EOFError() | zlib.error() | gzip.BadGzipFile():
            return f"damaged gzip file ({error})"
        case _:
            return f"{type(error).__name__}: {error}"


def _get(url: str, remote: Remote, timeout: float) -> bytes:
    """The body at `url`, which has to arrive whole and stay within the unpacked size and gzip's overhead."""
    request = urllib.request.Request(url, headers={"User-Agent": "fdl"})
    limit = remote.size + 4096
    with urllib.request.urlopen(request, timeout=timeout) as response:
        length = response.headers.get("Content-Length", "")
        total = int(length) if length.isdigit() else None
        body = bytearray()
        with progress(remote.name, total) as advance:
            while chunk := response.read(_CHUNK):
                body += chunk
                advance(len(chunk))
                if len(body) > limit:
                    raise OSError(f"the answer is longer than the whole file unpacked ({remote.size} bytes)")
    if total is not None and len(body) != total:
        raise EOFError(f"truncated: {len(body)} of {total} bytes arrived")
    return bytes(body)


def _amount(n: int) -> str:
    """A number of bytes in a unit that shows it."""
    return f"{n / 1e6:.1f} MB" if n >= 1e6 else f"{n / 1e3:.1f} kB"


@contextlib.contextmanager
def progress(name: str, total: int | None) -> Iterator[Callable[[int], object]]:
    """A bar for `total` bytes (None: unknown) on stderr while the block runs; the block calls the value with each count.

    tqdm's bar where tqdm is installed, otherwise a line at the start and its end.
    """
    try:
        from tqdm import tqdm  # an extra: a bar is worth no dependency
    except ImportError:
        size = "" if total is None else f" ({_amount(total)})"
        print(f"downloading {name}{size} ...", end="", file=sys.stderr, flush=True)
        arrived = 0

        def count(n: int) -> None:
            nonlocal arrived
            arrived += n

        try:
            yield count
        finally:
            print(f" {_amount(arrived)}", file=sys.stderr, flush=True)
        return
    with tqdm(total=total, desc=name, unit="B", unit_scale=True, file=sys.stderr) as bar:
        yield bar.update
