"""``python -m sora`` and the command ``sora``."""

import sys


def main() -> None:
    """The console script. Ctrl-C while the program is still being imported leaves no traceback."""
    try:
        from sora.cli import main as run
    except KeyboardInterrupt:
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
