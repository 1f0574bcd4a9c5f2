"""A function captured into a CUDA graph, which replays all that it launches at once."""

import warnings
from collections.abc import Callable, Sequence

import torch

_SYNCHRONISING = "called a synchronizing CUDA operation"  # torch's words in its debug mode


def captured(
    run: Callable[[], None], device: torch.device, generators: Sequence[torch.Generator] = ()
) -> torch.cuda.CUDAGraph:
    """Record what `run` launches, without running it.

    Args:
        device: the GPU that it launches on.
        generators: those that `run` draws from, besides the device's own.

    Raises:
        RuntimeError: it cannot be captured. All generators are as before, and can be drawn from.
    """
    graph = torch.cuda.CUDAGraph()
    before = [(generator, generator.clone_state()) for generator in (*generators, _own_generator(device))]
    if torch.__version__ < "2.12":  # from there on, a generator is registered when it is first drawn from
        for generator in generators:
            graph.register_generator_state(generator)
    try:
        # Other threads go on: one of them may pin the memory of the images of the next step.
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            run()
    except RuntimeError:
        # A capture that failed leaves a generator's state marked as being captured, up to torch 2.11: that state is
        # put aside, and a copy takes its place.
        for generator, state in before:
            generator.graphsafe_set_state(state)
        raise
    return graph


def _own_generator(device: torch.device) -> torch.Generator:
    index = torch.cuda.current_device() if device.index is None else device.index
    return torch.cuda.default_generators[index]


def waits(run: Callable[[], None]) -> str | None:
    """Run, and tell at what the host waited for the device; None where it never did.

    Such a function cannot be captured, and a capture that fails leaves torch's allocator as if it went on: better not
    to begin one.
    """
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            run()
        finally:
            torch.cuda.set_sync_debug_mode(before)
    places = []
    for warning in caught:
        if _SYNCHRONISING in str(warning.message):
            places.append(f"{warning.filename}:{warning.lineno}")
        elif "debug mode" not in str(warning.message):  # that it is a prototype
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    return places[0] if places else None


__all__ = ["captured", "waits"]
