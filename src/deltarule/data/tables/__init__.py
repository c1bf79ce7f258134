"""Tables as data: ``read_table`` for training, ``Columns`` in the model, ``read_rows`` after it.

Importing this loads NumPy only; scikit-learn and pyarrow wait until they are used.
"""

from deltarule.data.tables.columns import Columns
from deltarule.data.tables.parts import Category, Number, Target
from deltarule.data.tables.reading import Rows, TableData, read_rows, read_table
from deltarule.data.tables.table import Source, Table

__all__ = [
    "Category",
    "Columns",
    "Number",
    "Rows",
    "Source",
    "Table",
    "TableData",
    "Target",
    "read_rows",
    "read_table",
]
