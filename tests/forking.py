"""Starts commands by forking a process that has imported everything: twenty of them cost less than one import.

Reads lines of JSON, [folder, file for stderr, arguments], and answers each with the number of the new process. When its
input ends it waits for all of them and tells how they ended.
"""

import json
import os
import sys
import traceback
from pathlib import Path
from typing import NoReturn

import cli
from nas import loop


def main() -> None:
    assert loop  # imported once, for all
    begun = []
    for line in sys.stdin:
        folder, errors, arguments = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _become(Path(folder), errors, arguments)
        begun.append(pid)
        print(pid, flush=True)
    print(json.dumps([os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in begun]), flush=True)


def _become(folder: Path, errors: str, arguments: list[str]) -> NoReturn:
    os.chdir(folder)
    nothing = os.open(os.devnull, os.O_RDWR)
    said = os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for ours, theirs in ((nothing, 0), (nothing, 1), (said, 2)):
        os.dup2(ours, theirs)
    sys.argv = ["cli.py", *arguments]
    code = 1
    try:
        cli.run()
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException:
        traceback.print_exc()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
