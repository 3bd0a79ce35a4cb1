"""Sorting networks: which places of a short list are compared and exchanged, whatever stands there.

`NETWORKS[n]` sorts n keys.  They have the fewest comparisons known: 19 for 8 keys, 60 for 16 (D. E. Knuth, The Art of Computer
Programming, volume 3, section 5.3.4; the order of the second one's layers is by depth).  A pair (i, j) puts the smaller key at i.

May be imported by: the sorting kernels.
"""

from __future__ import annotations

Pairs = tuple[tuple[int, int], ...]


def _pairs(text: str) -> Pairs:
    words = [tuple(map(int, word.split(":"))) for word in text.split()]
    return tuple((i, j) for i, j in words)


NETWORKS: dict[int, Pairs] = {
    8: _pairs("0:2 1:3 4:6 5:7  0:4 1:5 2:6 3:7  0:1 2:3 4:5 6:7  2:4 3:5  1:4 3:6  1:2 3:4 5:6"),
    16: _pairs(
        "0:13 1:12 2:15 3:14 4:8 5:6 7:11 9:10  0:5 1:7 2:9 3:4 6:13 8:14 10:15 11:12  0:1 2:3 4:5 6:8 7:9 10:11 12:13 14:15  "
        "0:2 1:3 4:10 5:11 6:7 8:9 12:14 13:15  1:2 3:12 4:6 5:7 8:10 9:11 13:14  1:4 2:6 5:8 7:10 9:13 11:14  2:4 3:6 9:12 11:13  "
        "3:5 6:8 7:9 10:12  3:4 5:6 7:8 9:10 11:12  6:7 8:9"
    ),
}
"""Number of keys → the network that sorts them."""


def halvings(n: int, levels: int | None = None) -> Pairs:
    """The network that sorts n keys which rise and then fall (n a power of two): halves compared, then quarters, and so on.

    `levels` stops before the end. (K. E. Batcher, Sorting networks and their applications, 1968.)

    Example:
        >>> halvings(4)
        ((0, 2), (1, 3), (0, 1), (2, 3))
    """
    found = []
    distance = n // 2
    for _ in range(n.bit_length() - 1 if levels is None else levels):
        found += [(i, i + distance) for i in range(n) if not i & distance]
        distance //= 2
    return tuple(found)
