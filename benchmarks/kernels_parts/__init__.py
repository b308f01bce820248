"""Parts of ``benchmarks/kernels.py``."""
