"""The command ``deltarule``: one file a command, each thin: read options, call, print.

No command loads JAX before its options are read, so that ``--help`` answers at once.
"""

from deltarule.cli.app import main

__all__ = ["main"]
