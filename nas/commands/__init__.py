"""The commands: each parses its options, calls one function of `nas` and prints what came of it.

proxies        search, confirm, validate-proxy, studies, spaces
tabular        table run, table export, table merge, table query, table info
results        report, export, inspect, check-block
full_training  train, evaluate, shrink
doctor         doctor
refusals       what is refused before torch is imported
options        types of values, and options that several commands have
tables         results as tables of a terminal
helping        how `--help` looks
following      the command that is printed as the next one, and settings of the process

torch and Optuna are imported only when a command needs them.
"""

from nas.commands.doctor import doctor
from nas.commands.following import let_threads_sleep
from nas.commands.full_training import evaluate, shrink, train
from nas.commands.helping import Group
from nas.commands.proxies import confirm, search, spaces, studies, validate_proxy
from nas.commands.results import check_block, export, inspect, report
from nas.commands.tabular import table

COMMANDS = (
    search,
    studies,
    report,
    export,
    confirm,
    validate_proxy,
    table,
    train,
    shrink,
    evaluate,
    spaces,
    inspect,
    check_block,
    doctor,
)
"""All of them."""

__all__ = ["COMMANDS", "Group", "let_threads_sleep"]
