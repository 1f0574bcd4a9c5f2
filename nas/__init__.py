"""Neural architecture search for spiking transformers, from a search space to a trained network.

    study = nas.search("spikformer_small", trials=200)    # or nas.load_study("spikformer_small")
    nas.confirm(study)                                    # more seeds for the front
    report = nas.report(study)                            # the front, a page, tables and figures
    folders = nas.export(study, "knee")                   # bundles for full training
    trained = nas.train(folders[0], "imagenet/")          # under torchrun on many GPUs
    nas.evaluate([trained.folder], "imagenet/")           # accuracy and costs on test images
    nas.inspect("spikformer_cifar10_4_256")               # the layers of a network
    nas.validate_proxy("spikformer_small")                # does a short training rank as a long one does?

Each is the command of that name, called from Python. In a notebook, where docs/python.md is the guide:

    nas.search(space, data=nas.Images(train), trials=20)  # images of your own, as any torch data set
    study.to_dataframe()                                  # a row a network
    nas.plot_front(study)                                 # also plot_hypervolume, plot_axes, plot_network

Names are loaded when first used, so that the command line answers
before torch is imported.
"""

from typing import TYPE_CHECKING

from nas import quiet
from nas.lazy import attributes
from nas.version import VERSION

if TYPE_CHECKING:
    from nas.datasets import Images
    from nas.exports import export
    from nas.full_training import evaluate, train
    from nas.replicates import confirm, validate_proxy
    from nas.reports import inspect, plot_axes, plot_front, plot_hypervolume, plot_network, report
    from nas.searching import search
    from nas.studies import Study, load_study

__version__ = VERSION
quiet.about_gpus()  # before torch is imported
_ROOMS = {
    "Images": "nas.datasets",
    "Study": "nas.studies",
    "confirm": "nas.replicates",
    "evaluate": "nas.full_training",
    "export": "nas.exports",
    "inspect": "nas.reports",
    "load_study": "nas.studies",
    "plot_axes": "nas.reports",
    "plot_front": "nas.reports",
    "plot_hypervolume": "nas.reports",
    "plot_network": "nas.reports",
    "report": "nas.reports",
    "search": "nas.searching",
    "train": "nas.full_training",
    "validate_proxy": "nas.replicates",
}
__getattr__ = attributes(__name__, _ROOMS)


def __dir__() -> list[str]:
    """Names that were not used yet are completed too."""
    return sorted({*globals(), *__all__})


__all__ = [
    "Images",
    "Study",
    "confirm",
    "evaluate",
    "export",
    "inspect",
    "load_study",
    "plot_axes",
    "plot_front",
    "plot_hypervolume",
    "plot_network",
    "report",
    "search",
    "train",
    "validate_proxy",
]
