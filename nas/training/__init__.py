"""The step of every training; proxy trainings, their measurement, and the candidate that results.

step           forward and backward passes, and the update: of proxies and of full training
graph          the step as a captured CUDA graph
optimizer      groups of weights, AdamW, the update of weights by gradients
schedule       the learning rate by step
execution      kernels, precision and compilation by device
proxy          the steps of a proxy: images and loss
spikes         spikes counted while training, for a penalty on them
epoch          what an epoch measured
fitting        a proxy's training: epochs and checkpoints
augmentation   images and frames as a network is shown them
event_moves    frames of events, moved about while training
device_memory  what fits on a device, and what is said when it does not
measurement    accuracy, operations and energy on held-out images
probing        how fast a network is trained and measured, from a few steps
throughput     seconds an image, from what trainings took
provenance     versions, device and times of a training
ranking        which energy ranks networks
candidate      a config evaluated: one record, with all of it
description    a network in words
wording        candidates and numbers as people read them
evaluation     a config trained, measured and written down as a candidate
"""

from typing import TYPE_CHECKING

from nas.lazy import attributes

if TYPE_CHECKING:
    from nas.training.augmentation import EventFrames, NetworkInput, Normalise, augment, network_input, settled
    from nas.training.candidate import Candidate, front_of, repriced
    from nas.training.description import described, mixer_name, mlp_name, stem_name
    from nas.training.epoch import Epoch
    from nas.training.evaluation import died, evaluate
    from nas.training.execution import Precision, autocast, exact, lay_out, options_for, precision_of, tuned
    from nas.training.fitting import accuracies, counts_by_class, epochs_of, images_seen
    from nas.training.measurement import Measurement
    from nas.training.optimizer import Update, adamw, parameter_groups
    from nas.training.probing import measured_pace
    from nas.training.ranking import EnergyOf
    from nas.training.schedule import Schedule
    from nas.training.step import Inputs, Step, momentum_settles
    from nas.training.throughput import Pace
    from nas.training.wording import in_si, in_words

__getattr__ = attributes(
    __name__,
    {
        "Candidate": "nas.training.candidate",
        "EnergyOf": "nas.training.ranking",
        "Epoch": "nas.training.epoch",
        "EventFrames": "nas.training.augmentation",
        "Inputs": "nas.training.step",
        "Measurement": "nas.training.measurement",
        "NetworkInput": "nas.training.augmentation",
        "Normalise": "nas.training.augmentation",
        "Pace": "nas.training.throughput",
        "Precision": "nas.training.execution",
        "Schedule": "nas.training.schedule",
        "Step": "nas.training.step",
        "Update": "nas.training.optimizer",
        "accuracies": "nas.training.fitting",
        "adamw": "nas.training.optimizer",
        "augment": "nas.training.augmentation",
        "autocast": "nas.training.execution",
        "counts_by_class": "nas.training.fitting",
        "described": "nas.training.description",
        "died": "nas.training.evaluation",
        "epochs_of": "nas.training.fitting",
        "evaluate": "nas.training.evaluation",
        "exact": "nas.training.execution",
        "front_of": "nas.training.candidate",
        "images_seen": "nas.training.fitting",
        "in_si": "nas.training.wording",
        "in_words": "nas.training.wording",
        "lay_out": "nas.training.execution",
        "measured_pace": "nas.training.probing",
        "mixer_name": "nas.training.description",
        "mlp_name": "nas.training.description",
        "momentum_settles": "nas.training.step",
        "network_input": "nas.training.augmentation",
        "options_for": "nas.training.execution",
        "parameter_groups": "nas.training.optimizer",
        "precision_of": "nas.training.execution",
        "repriced": "nas.training.candidate",
        "settled": "nas.training.augmentation",
        "stem_name": "nas.training.description",
        "tuned": "nas.training.execution",
    },
)

__all__ = [
    "Candidate",
    "EnergyOf",
    "Epoch",
    "EventFrames",
    "Inputs",
    "Measurement",
    "NetworkInput",
    "Normalise",
    "Pace",
    "Precision",
    "Schedule",
    "Step",
    "Update",
    "accuracies",
    "adamw",
    "augment",
    "autocast",
    "counts_by_class",
    "described",
    "device_memory",
    "died",
    "epochs_of",
    "evaluate",
    "exact",
    "front_of",
    "images_seen",
    "in_si",
    "in_words",
    "lay_out",
    "measured_pace",
    "measurement",
    "mixer_name",
    "mlp_name",
    "momentum_settles",
    "network_input",
    "options_for",
    "parameter_groups",
    "precision_of",
    "provenance",
    "ranking",
    "repriced",
    "settled",
    "stem_name",
    "tuned",
]
