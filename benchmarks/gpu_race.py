"""Stage `race` of gpu_day.py: our step beside its ReLU counterpart and SpikingJelly, then where the two steps spend it.

What matters most runs first: ours and the counterpart, in turns; profiles of both; larger batches; each lever alone;
SpikingJelly, whose compilation takes longest, last.
"""

import dataclasses
import time
from dataclasses import dataclass

import proxy_speed
import torch
from gpu_task import Task, check_device
from proxy_speed import SHAPES, Contestant
from torch.profiler import ProfilerActivity, profile

from nas.settings import Recipe
from nas.training import Epoch
from nas.training import fitting as training
from nas.training.execution import options_for
from spikformer import Spikformer

_PROFILED = 4  # epoch of five steps, when all is compiled and momentum has settled
_STEPS = 5


@dataclass(frozen=True)
class Heat:
    """One contestant at one batch size."""

    name: str
    run: Contestant
    batch: int


class Profile:
    """The steps of one epoch of a training, as torch's profiler sees them."""

    def __init__(self, task: Task) -> None:
        on_cuda = [ProfilerActivity.CUDA] * task.on_cuda
        self._profile = profile(activities=[ProfilerActivity.CPU, *on_cuda])
        self._sorted_by = "self_cuda_time_total" if task.on_cuda else "self_cpu_time_total"

    def __call__(self, epoch: int, _measured: Epoch) -> None:
        if epoch == _PROFILED - 1:
            self._profile.__enter__()
        elif epoch == _PROFILED:
            self._profile.__exit__(None, None, None)

    def table(self) -> str:
        averages = self._profile.key_averages()
        return str(averages.table(sort_by=self._sorted_by, row_limit=45, max_name_column_width=80))


def heats(task: Task, device: torch.device, shape: proxy_speed.Shape) -> list[Heat]:
    """In the order of what they are worth."""
    found = proxy_speed.contestants(shape, device)
    ours = next(name for name in found if name.startswith("ours, all"))
    relu = next(name for name in found if name.startswith("(c)"))
    if task.quick:
        return [Heat(name, found[name], 4) for name in (ours, relu)]
    order = [Heat(name, found[name], 128) for _ in range(3) for name in (ours, relu)]
    order += [Heat(name, found[name], 512) for name in (ours, relu)]
    rest = [name for name in found if name not in (ours, relu)]
    return order + [Heat(name, found[name], 128) for name in sorted(rest, key=lambda name: name[:3] in ("(b)", "(a)"))]


def run(task: Task, heat: Heat, device: torch.device, steps: int) -> None:
    """Tells what the heat took, or why it did not end."""
    train, recipe = proxy_speed.random_images(heat.batch * steps, device), Recipe(epochs=2, batch_size=heat.batch)
    started = time.monotonic()
    try:
        took_s, peak_mib = proxy_speed.once(heat.run, train, recipe)
    except Exception as error:  # a rival that fails is a result, and the others run all the same
        task.tell(heat.name, batch=heat.batch, error=f"{type(error).__name__}: {error}"[:300])
        return
    task.tell(
        heat.name,
        batch=heat.batch,
        images_s=round(heat.batch * steps / took_s),
        step_ms=round(1e3 * took_s / steps, 3),
        peak_mib=round(peak_mib),
        whole_s=round(time.monotonic() - started, 1),
    )


def write_profile(task: Task, device: torch.device, shape: proxy_speed.Shape, batch: int, *, relu: bool) -> None:
    """Of the step launched operation by operation: a graph hides who launched what."""
    options = dataclasses.replace(options_for(device, Recipe(), 0), cuda_graph=False)
    torch.manual_seed(0)
    model = Spikformer(shape.config()).to(device)
    if relu:
        proxy_speed.without_spikes(model)
    seen = Profile(task)
    train = proxy_speed.random_images(_STEPS * batch, device)
    training.fit(model, train, Recipe(epochs=_PROFILED, batch_size=batch), 0, seen, options)
    name = "ReLU counterpart" if relu else "ours"
    with (task.out / "profile.txt").open("a") as file:
        file.write(f"\n{name}, {shape.name}, batch {batch}, {_STEPS} steps, {options}\n\n{seen.table()}")
    task.tell("profile", of=name, file="profile.txt")


def main() -> None:
    task = Task.read()
    check_device(task.device)
    device = torch.device(task.device)
    shape, batch = (SHAPES["d64 L2 T2"], 4) if task.quick else (SHAPES["d384 L4 T4"], 128)
    todo = heats(task, device, shape)
    for i, heat in enumerate(todo):
        if i == min(6, len(todo) - 1):
            for relu in (False, True):
                write_profile(task, device, shape, batch, relu=relu)
        if task.left() < 5:
            task.tell("not run", contestants=[other.name for other in todo[i:]])
            return
        run(task, heat, device, 2 if task.quick else 60)


if __name__ == "__main__":
    main()
