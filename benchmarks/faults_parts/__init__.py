"""The parts of ``python benchmarks/faults.py``: each asks one question about what happens when things go wrong.

``part``      what every part is given, and the rows that it returns
``program``   the program as a process of its own, in folders of its own
``soak``      whether hours of mixed jobs in one process leave memory, handles or files behind
``fuzz``      whether readers of files and words refuse whatever they are given in the documented way
``kills``     what a process that was killed leaves behind, and whether the next command goes on from it
``same``      whether a film is the same by whichever route it was asked for
``disk``      what a run says and leaves when a write fails
``hostile``   whether files that somebody was sent can do harm
``pull``      whether downloads go on after they were killed, dropped or lied to
"""
