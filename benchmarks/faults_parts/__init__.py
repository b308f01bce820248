"""The parts of ``benchmarks/faults.py``: each asks one question about what happens when things go wrong.

A part is a module that measures and returns rows (``rows.Row``); ``faults.py`` lists the parts, runs them and prints
the table.
"""
