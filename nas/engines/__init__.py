"""Where trainings run: in this process, in several processes, or on a Ray cluster.

engine      the interface, and trainings in this process
processes   worker processes on this machine
ray_engine  tasks on a Ray cluster
dispatch    keeps an engine busy, and repeats trainings that end with their process
devices     devices by name, and how processes are spread over them
"""

from nas.engines.devices import check_processes, device_of, places_of
from nas.engines.dispatch import ATTEMPTS, Dispatcher, given_up
from nas.engines.engine import Died, Done, Engine, InProcess, Job, Trainer
from nas.engines.processes import Processes
from nas.engines.ray_engine import OnRay

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
    "check_processes",
    "device_of",
    "given_up",
    "places_of",
]
