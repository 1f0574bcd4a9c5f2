"""Tables of networks that were really trained: filled, put together, and asked without training anything.

contents   keys, settings and records
configs    configs as a file stores them
layout     tensors and JSON of a file
card       the data card
writing    contents as a file
checking   a file as untrusted data
records    records out of its tensors
readings   what a table says of a training
networks   networks of a table, and what is kept of each
table      Table: asked by config, share and seed
opening    files by name, held to their SHA-256
selecting  rows of a table by network or by choices on axes
frames     a table as a data frame
objective  an Optuna objective over a table
codes      scores of binary firing codes
signals    zero-cost signals of untrained networks
sampling   which networks of a space are trained, in which order
journal    trainings of a table that grows
parts      finished trainings as small files
forecast   what a run will do, and how long it takes
running    `table run`
merging    several sources as one
exporting  `table export` and `table merge`

Opening and asking import neither torch nor Optuna, but for costs on a chip or with memory.
"""

from typing import TYPE_CHECKING

from nas.lazy import attributes

if TYPE_CHECKING:
    from nas.tables.contents import Key
    from nas.tables.exporting import export, merge
    from nas.tables.objective import Objective
    from nas.tables.opening import load, shipped
    from nas.tables.readings import Reading
    from nas.tables.running import run
    from nas.tables.selecting import selected
    from nas.tables.table import Table

__getattr__ = attributes(
    __name__,
    {
        "Key": "nas.tables.contents",
        "Objective": "nas.tables.objective",
        "Reading": "nas.tables.readings",
        "Table": "nas.tables.table",
        "export": "nas.tables.exporting",
        "load": "nas.tables.opening",
        "merge": "nas.tables.exporting",
        "run": "nas.tables.running",
        "selected": "nas.tables.selecting",
        "shipped": "nas.tables.opening",
    },
)

__all__ = ["Key", "Objective", "Reading", "Table", "export", "load", "merge", "run", "selected", "shipped"]
