"""The rows, in the order of the page."""

from ..record import Case
from . import calls, elementwise, loops, matmul, memory, ordering, processes, train_cnn, train_lstm, train_mlp, train_vae

CASES: tuple[Case, ...] = (
    *calls.CASES,
    *train_mlp.CASES,
    *train_cnn.CASES,
    *train_vae.CASES,
    *train_lstm.CASES,
    *elementwise.CASES,
    *matmul.CASES,
    *ordering.CASES,
    *loops.CASES,
    *memory.CASES,
    *processes.CASES,
)
