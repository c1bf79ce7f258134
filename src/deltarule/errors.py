"""Every error deltarule raises on purpose: one sentence each, and the exit code of the command.

A message names the argument or file, says what was expected, what came, and what to do.
"""


class DataError(ValueError):
    """A data file or array is not what it should be (exit code 3)."""


class DivergedError(ValueError):
    """Training produced a cost that is not finite (exit code 4)."""


class ModelFileError(ValueError):
    """A model file is damaged, foreign, or made by a newer version (exit code 5)."""


class CheckpointError(ValueError):
    """A run cannot be resumed from what its folder holds (exit code 5)."""


class RunBusyError(OSError):
    """Another process is working in the same run folder (exit code 6)."""


class DownloadError(OSError):
    """No mirror gave the file that was expected (exit code 7)."""
