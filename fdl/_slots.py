"""Fills the tracer's slots once: which code runs single operations, and which compiles programs."""

from fdl.backends import executable
from fdl.config import config
from fdl.tracer import trace

executable.configured_backend = lambda: config.backend
trace.install(eager=executable.run_eager, compile=executable.compile_program)
