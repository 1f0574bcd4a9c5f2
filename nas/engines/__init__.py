"""Where trainings run: in this process, in several processes, or on a Ray cluster.

engine      the interface, and trainings in this process
processes   worker processes on this machine
ray_engine  tasks on a Ray cluster
devices     devices by name, and how processes are spread over them
"""

from nas.engines.devices import device_of, places_of
from nas.engines.engine import Died, Done, Engine, InProcess, Job, Trainer
from nas.engines.processes import Processes
from nas.engines.ray_engine import OnRay

__all__ = ["Died", "Done", "Engine", "InProcess", "Job", "OnRay", "Processes", "Trainer", "device_of", "places_of"]
