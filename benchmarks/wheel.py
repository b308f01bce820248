"""What the wheel holds and how large it is: ``python benchmarks/wheel.py [--checkout FOLDER]``.

Builds the wheel of a checkout with ``pip wheel --no-deps`` and looks into it: the program and its weights, nothing of
the trainer, of the tests or of the benchmarks. Its size without the embedded weights is that of the same wheel written
anew without the files of ``sora/assets``. The exit status is 1 where a target is missed.
"""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from zipfile import ZIP_DEFLATED, ZipFile

from minitrain.eval.verdicts import Verdicts

ROOT = Path(__file__).parent.parent
ASSETS = "sora/assets/"
FOREIGN, JUDGE = ("minitrain", "tests", "benchmarks"), "judge.safetensors"
MAX_BYTES = 1.2e6  # bytes without weights
LARGEST = 5  # files to list


def built(checkout: Path, folder: Path) -> Path:
    """The wheel, built in the folder. Raises SystemExit with pip's last line."""
    command = [sys.executable, "-m", "pip", "wheel", str(checkout), "--no-deps", "--wheel-dir", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"the wheel could not be built: {(done.stderr.strip().splitlines() or ['pip is silent'])[-1]}")
    return next(folder.glob("*.whl"))


def size_without(wheel: ZipFile, prefix: str) -> int:
    """Bytes of the wheel without files whose names begin so."""
    whole = io.BytesIO()
    with ZipFile(whole, "w", ZIP_DEFLATED) as rest:
        for entry in wheel.infolist():
            if not entry.filename.startswith(prefix):
                rest.writestr(entry, wheel.read(entry), ZIP_DEFLATED)
    return len(whole.getvalue())


def strangers(names: Iterable[str]) -> list[str]:
    """Files that belong to no user of the program."""
    return [
        name for name in names if set(PurePosixPath(name).parts) & set(FOREIGN) or name.endswith("judge.safetensors")
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkout", type=Path, default=ROOT)
    args = parser.parse_args()
    verdicts = Verdicts()
    with tempfile.TemporaryDirectory() as folder:
        path = built(args.checkout.resolve(), Path(folder))
        with ZipFile(path) as wheel:
            names, entries = wheel.namelist(), wheel.infolist()
            bare = size_without(wheel, ASSETS)
        foreign, tops = strangers(names), sorted({PurePosixPath(name).parts[0] for name in names})
        verdicts.add("top folders", "", ", ".join(tops))
        verdicts.add("files of the trainer, tests and benchmarks", "none", ", ".join(foreign) or "none", not foreign)
        typed = "sora/py.typed" in names
        verdicts.add("the marker of types, sora/py.typed", "is there", "is there" if typed else "is missing", typed)
        verdicts.add("files", "", f"{len(names)}, of them {sum(n.startswith(ASSETS) for n in names)} in {ASSETS}")
        verdicts.add("size with the weights", "", f"{path.stat().st_size / 1e6:.2f} MB")
        verdicts.add(
            "size without the weights", f"<= {MAX_BYTES / 1e6:.1f} MB", f"{bare / 1e6:.3f} MB", bare <= MAX_BYTES
        )
        for entry in sorted(entries, key=lambda e: -e.compress_size)[:LARGEST]:
            verdicts.add(f"    {entry.filename}", "", f"{entry.compress_size / 1e6:.3f} MB")
    print(f"\n{verdicts.summary()}")
    raise SystemExit(any(row.met is False for row in verdicts.rows))


if __name__ == "__main__":
    main()
