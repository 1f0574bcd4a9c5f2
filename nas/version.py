"""The version of this program, in its one place: the build, the command line and records read it here."""

VERSION = "0.2.0"

__all__ = ["VERSION"]
