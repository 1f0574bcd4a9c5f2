"""Where trainings run: in this process, in several processes, or on a Ray cluster.

engine      the interface, and trainings in this process
processes   worker processes on this machine
ray_engine  tasks on a Ray cluster
dispatch    keeps an engine busy, and repeats trainings that end with their process
devices     devices by name, and how processes are spread over them
"""

from typing import TYPE_CHECKING

from nas.lazy import attributes

if TYPE_CHECKING:
    from nas.engines.devices import check_device, check_places, check_processes, device_of, places_of
    from nas.engines.dispatch import ATTEMPTS, Dispatcher, given_up
    from nas.engines.engine import Died, Done, Engine, InProcess, Job, Trainer
    from nas.engines.processes import Processes
    from nas.engines.ray_engine import OnRay

__getattr__ = attributes(
    __name__,
    {
        "ATTEMPTS": "nas.engines.dispatch",
        "Died": "nas.engines.engine",
        "Dispatcher": "nas.engines.dispatch",
        "Done": "nas.engines.engine",
        "Engine": "nas.engines.engine",
        "InProcess": "nas.engines.engine",
        "Job": "nas.engines.engine",
        "OnRay": "nas.engines.ray_engine",
        "Processes": "nas.engines.processes",
        "Trainer": "nas.engines.engine",
        "check_device": "nas.engines.devices",
        "check_places": "nas.engines.devices",
        "check_processes": "nas.engines.devices",
        "device_of": "nas.engines.devices",
        "given_up": "nas.engines.dispatch",
        "places_of": "nas.engines.devices",
    },
)

__all__ = [
    "ATTEMPTS",
    "Died",
    "Dispatcher",
    "Done",
    "Engine",
    "InProcess",
    "Job",
    "OnRay",
    "Processes",
    "Trainer",
    "check_device",
    "check_places",
    "check_processes",
    "device_of",
    "given_up",
    "places_of",
]
