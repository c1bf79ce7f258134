"""Methods that use curvature, or guess it from gradients: one method, one paper, one file.

Each is an optax transformation. A file that gives a direction leaves the length of the step to
``line_search.py``; the table of all methods is in ``optimizers.py``.
"""
