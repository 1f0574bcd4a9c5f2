"""How many processes a search may start, by the machine's cores and by the files that it may hold open."""

import resource

import pytest

from nas.engines import check_processes, places_of
from nas.errors import StudyError


def test_more_workers_than_a_machine_runs_are_refused() -> None:
    check_processes(1)
    check_processes(64)
    for workers in (10**6, 10**30):
        with pytest.raises(StudyError, match=r"workers are more than this machine can run: at most \d+\. Give fewer"):
            check_processes(workers)
    with pytest.raises(StudyError, match="must be at least 1 and at most 100,000"):
        places_of("cpu", 10**30, 1)


@pytest.mark.parametrize(("hard", "refused"), [(24, True), (4096, False), (resource.RLIM_INFINITY, False)])
def test_too_few_open_files_are_named_or_raised(hard: int, refused: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four workers at `ulimit -n 24` did nothing, and said nothing."""
    limits = [(24, hard)]
    monkeypatch.setattr(resource, "getrlimit", lambda _what: limits[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda _what, pair: limits.append(pair))
    if refused:
        with pytest.raises(StudyError, match=r"4 workers need \d+ open files, but this process may have 24\. Raise"):
            check_processes(4)
        assert len(limits) == 1
    else:
        check_processes(4)
        assert limits[-1][0] > 100
        assert limits[-1][1] == hard
