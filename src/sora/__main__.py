"""``python -m sora`` is ``sora``."""

from sora.cli import main

if __name__ == "__main__":
    main()
