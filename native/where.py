"""Print where the headers of XLA's foreign functions and oneDNN's wheels are, for CMake.

One line, with semicolons between: XLA's headers; where there are wheels of oneDNN for this system
also its headers, its library and the folder of its licences.
"""

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path


def placed(package: str, end: str) -> Path:
    """Return where the file of an installed package lies whose path ends with ``end``."""
    files = distribution(package).files or []
    return next(Path(file.locate()).resolve() for file in files if file.match(end))


found = [placed("jaxlib", "include/xla/ffi/api/ffi.h").parents[3]]
try:
    found += [
        placed("onednn-devel-cpu-gomp", "include/dnnl.hpp").parent,
        placed("onednn-cpu-gomp", "libdnnl.so.3"),
        placed("onednn-cpu-gomp", "THIRD-PARTY-PROGRAMS").parent,
    ]
except PackageNotFoundError:
    del found[1:]
print(";".join(str(path) for path in found))
