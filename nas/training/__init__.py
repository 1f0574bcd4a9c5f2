"""Proxy trainings: one step, a training, its measurement, and the candidate that results.

step           forward, backward and update
graph          the step as a captured CUDA graph
fitting        a training: epochs, schedule, checkpoints
augmentation   what is drawn anew for each batch
speed          kernels, precision and compilation by device
device_memory  what fits on a device, and what is said when it does not
measurement    accuracy, operations and energy on held-out images
throughput     seconds an image, from what trainings took
provenance     versions, device and times of a training
counterpart    the quantised network of the same shape without time
candidate      a config evaluated: one record, with all of it
evaluation     a config trained, measured and written down as a candidate
"""

from nas.training import device_memory, measurement
from nas.training.augmentation import Normalise, settled
from nas.training.candidate import Candidate, EnergyOf, front_of, repriced
from nas.training.counterpart import ann_counterpart, bits
from nas.training.evaluation import died, evaluate, measured_pace
from nas.training.fitting import Epoch, accuracies, counts_by_class, epochs_of, images_seen
from nas.training.speed import exact, precision_of
from nas.training.step import set_momentum
from nas.training.throughput import Pace

__all__ = [
    "Candidate",
    "EnergyOf",
    "Epoch",
    "Normalise",
    "Pace",
    "accuracies",
    "ann_counterpart",
    "bits",
    "counts_by_class",
    "device_memory",
    "died",
    "epochs_of",
    "evaluate",
    "exact",
    "front_of",
    "images_seen",
    "measured_pace",
    "measurement",
    "precision_of",
    "repriced",
    "set_momentum",
    "settled",
]
