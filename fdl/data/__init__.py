"""Data sets and batches: `mnist`, `Loader`, `split`, and the IDX format's reader.

Data are pytrees of arrays whose first axis counts examples. Nothing here is random but for the keys it is given.
"""

from .idx import DataError as DataError
from .idx import parse_idx as parse_idx
from .idx import read_idx as read_idx
from .loader import Loader as Loader
from .loader import split as split
from .mnist import Dataset as Dataset
from .mnist import Mnist as Mnist
from .mnist import mnist as mnist
