"""SIGINT and SIGTERM ask a training to stop: between two steps, or at once where it waits for images."""

import contextlib
import signal
import threading
from collections.abc import Iterator


class Stop:
    """Whether a training was asked to stop.

    Attributes:
        asked: by a signal.
    """

    def __init__(self) -> None:
        self.asked = False
        self._waits = False

    def ask(self, _signal: int, _frame: object) -> None:
        """The handler of a signal; a second one ends the training at once.

        Raises:
            KeyboardInterrupt: nothing is half done, or it was asked before.
        """
        before, self.asked = self.asked, True
        if before or self._waits:
            raise KeyboardInterrupt

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Meanwhile a signal is obeyed at once: what is waited for may never come, as from a disk that is gone.

        Raises:
            KeyboardInterrupt: a stop was or is asked for.
        """
        self._waits = True
        try:
            if self.asked:
                raise KeyboardInterrupt
            yield
        finally:
            self._waits = False


@contextlib.contextmanager
def stopping() -> Iterator[Stop]:
    """Let SIGINT and SIGTERM ask; in the main thread alone, as Python has it."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.signal(number, stop.ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


__all__ = ["Stop", "stopping"]
