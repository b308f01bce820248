"""What the processes of ``benchmarks/gpus.py`` run."""
