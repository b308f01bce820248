"""Rewrite the golden numbers: ``python tests/goldens/make.py``. For a change that means to change what is painted."""

from __future__ import annotations

import json
import sys
from pathlib import Path

FILE = Path(__file__).parent / "mini.json"

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))
    from test_mini import measure

    FILE.write_text(json.dumps(measure(), indent=1) + "\n", encoding="utf-8")
    print(f"wrote {FILE}")  # noqa: T201
