"""The command line: one command for each step from a search space to a trained network (`nas.commands`)."""

import errno
import signal
import sys
from typing import NoReturn

import click

from nas.commands import COMMANDS, let_threads_sleep


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="spikformer-nas", prog_name="spikformer-nas")
def main() -> None:
    """Neural architecture search for spiking transformers: accuracy against spike operations and energy."""


for command in COMMANDS:
    main.add_command(command)


def _interrupt(_signal: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


def run() -> NoReturn:
    """Run a command; bad input ends in one line on stderr and exit code 1, an interruption in 130."""
    from spikformer.errors import SpikformerError

    let_threads_sleep()
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        main.main(standalone_mode=False)
    except click.exceptions.Exit as end:
        sys.exit(end.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except SpikformerError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        name = str(error.filename)
        click.echo(f"Error: the path {name[:60]}... has {len(name):,} characters, too many. Correct it", err=True)
        sys.exit(1)
    except (KeyboardInterrupt, click.Abort):
        click.echo("Interrupted. Nothing is lost: the same command goes on.", err=True)
        sys.exit(130)
    sys.exit(0)


if __name__ == "__main__":
    run()
