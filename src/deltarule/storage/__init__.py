"""How anything reaches the disk and comes back: whole files or none, and data that is only data.

``disk.py`` writes, ``lock.py`` keeps a second process out, ``tensors.py`` is the file that holds
arrays, ``plain.py`` the header in it, ``foreign.py`` knows files that are not ours. ``files.py``
(models) and ``runs.py`` (run folders) stand on these and change the disk through nothing else.
"""

from deltarule.storage.disk import (
    append_line,
    clean,
    explained,
    make_folder,
    probe,
    remove,
    write_atomically,
)
from deltarule.storage.lock import locked
from deltarule.storage.plain import dumped, encoded, parsed
from deltarule.storage.tensors import (
    Format,
    Slot,
    TensorFile,
    open_tensors,
    read_tensors,
    write_tensors,
)
from deltarule.storage.text import printable

__all__ = [
    "Format",
    "Slot",
    "TensorFile",
    "append_line",
    "clean",
    "dumped",
    "encoded",
    "explained",
    "locked",
    "make_folder",
    "open_tensors",
    "parsed",
    "printable",
    "probe",
    "read_tensors",
    "remove",
    "write_atomically",
    "write_tensors",
]
