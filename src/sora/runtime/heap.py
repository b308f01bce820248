"""Returns freed memory to the system."""

from __future__ import annotations

import ctypes
from functools import lru_cache
from typing import Any


def trim() -> None:
    """Return the C library's freed memory to the system, which takes some milliseconds.

    Tensors of many sizes that come and go leave holes between those that stay; glibc fills some and keeps the rest, so
    a long clip would need more and more memory. Does nothing where the C library has no such function.
    """
    function = _malloc_trim()
    if function is not None:
        function(0)


@lru_cache
def _malloc_trim() -> Any | None:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # other C libraries, and Windows, which opens no None
        return None
