"""Control flow that is traced: branches and loops, which compiled code has as native branches and loops."""

from .associative import associative_scan as associative_scan
from .branches import cond as cond
from .branches import select as select
from .branches import select_n as select_n
from .branches import switch as switch
from .loops import fori_loop as fori_loop
from .loops import while_loop as while_loop
from .scans import map as map
from .scans import scan as scan
