"""`python cli.py` of a clone: the commands of `nas.__main__`, which `python -m nas` and an installed script run too."""

from nas.__main__ import main, run

__all__ = ["main", "run"]

if __name__ == "__main__":
    run()
