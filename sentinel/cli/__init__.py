"""`sentinel-worker`: every command in a module of its own, loaded when it is called.

The names, shapes and exit codes here are a contract with scripts (shared/cli.md). Data goes to
stdout, everything else to stderr.
"""

from __future__ import annotations
