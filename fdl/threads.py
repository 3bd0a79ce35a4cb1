"""How many threads compiled code may use. Results are bitwise the same for any number."""

from fdl.backends.llvm.runtime import get_num_threads as get_num_threads
from fdl.backends.llvm.runtime import set_num_threads as set_num_threads
