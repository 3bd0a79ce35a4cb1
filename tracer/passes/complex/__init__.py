"""Complex numbers for backends that have none: see `split`."""

from .split import is_concerned as is_concerned
from .split import real_program as real_program
