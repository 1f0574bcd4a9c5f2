"""Numbers of the layouts of what is stored: a file of a later layout is refused in one line and not misread.

Bundles, studies, records of trials, checkpoints of full trainings and tables each count their own layouts. A file
without a number is from before there were any, and counts as 0. A number rises when an older program could misread
what a newer one writes; a field that may be missing raises none. `tests/data/schemas` holds a file of each number, and
all open.

Standard library only.
"""

KEY = "schema"
"""Under which the number stands in tables of ours."""


def reason_against(number: object, newest: int) -> str | None:
    """Why a stored thing cannot be read, with the remedy; None where it can.

    Args:
        number: what stands under `KEY`; None where nothing does.
        newest: the last layout that this program knows.
    """
    if number is None:
        return None
    if type(number) is not int or number < 0:
        return f'"{KEY}" is {str(number)[:40]!r}, but must be the number of a layout. Restore a backup'
    if number > newest:
        return (
            f"a newer version of spikformer-nas wrote it (schema {number}, this version reads up to {newest}). Upgrade "
            "with pip install --upgrade spikformer-nas"
        )
    return None


__all__ = ["KEY", "reason_against"]
