"""From an exported bundle to a trained network: `train` and `evaluate`, the one place that opens test images.

augmentation   pixels to what the network is shown
resident       images that stay on the device
loading        which images make a step, read and augmented by several processes
process_group  the processes that train together: ranks, batch norm over all of them
criterion      loss: mixed labels, a teacher
memory         what a training needs of the device's memory
build          network, optimizer, schedule, average, and whether a graph may replay the step
training       a training between two steps: network, step of `nas.training`, how far it came
checkpoint     how far a training came, in a file
logger         JSON lines, TensorBoard, progress
keeping        when a checkpoint is written
stopping       SIGINT and SIGTERM end it between two steps
loop           epochs, from the first step or from a checkpoint to the trained bundle
evaluation     accuracy and costs on test images
results        the record and card of a finished training
dry_run        a few steps, and how long the whole training would take
attached       a finished training, noted in the study that it came from
"""

from typing import TYPE_CHECKING

from nas.lazy import attributes

if TYPE_CHECKING:
    from nas.full_training.evaluation import Evaluation, evaluate, mean_and_deviation
    from nas.full_training.loop import train

__getattr__ = attributes(
    __name__,
    {
        "Evaluation": "nas.full_training.evaluation",
        "evaluate": "nas.full_training.evaluation",
        "mean_and_deviation": "nas.full_training.evaluation",
        "train": "nas.full_training.loop",
    },
)

__all__ = ["Evaluation", "attached", "dry_run", "evaluate", "evaluation", "mean_and_deviation", "memory", "train"]
