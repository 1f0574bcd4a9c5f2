"""Recordings of event cameras, read in one place, and the frames that are made of them.

recording            events of one recording, checked
framing              events counted in frames
finding              a part of a data set, by its name
recordings           the recordings of a part, read one at a time
published            CIFAR10-DVS, DVS128 Gesture, N-Caltech101, N-MNIST
cuts                 which of their recordings are the test
building             their archives as arrays, by SpikingJelly
folders              recordings of the user's own
moving_digits        a simulation that needs no download
formats              every file format
contents             what a file holds before it is checked
arrays               .npz, .npy
binary               ATIS, Prophesee DAT
aedat                AEDAT 2.0, 3.1, 4
spikingjelly_datasets   the one door to SpikingJelly's data sets
"""

from typing import TYPE_CHECKING

from nas.lazy import attributes

if TYPE_CHECKING:
    from nas.events.cuts import Part
    from nas.events.finding import SPLITS, find
    from nas.events.framing import Frames, Slicing, frames
    from nas.events.recording import Recording, Sensor, StoredFrames
    from nas.events.recordings import EventSet, Recordings

__getattr__ = attributes(
    __name__,
    {
        "SPLITS": "nas.events.finding",
        "EventSet": "nas.events.recordings",
        "Frames": "nas.events.framing",
        "Part": "nas.events.cuts",
        "Recording": "nas.events.recording",
        "Recordings": "nas.events.recordings",
        "Sensor": "nas.events.recording",
        "Slicing": "nas.events.framing",
        "StoredFrames": "nas.events.recording",
        "find": "nas.events.finding",
        "frames": "nas.events.framing",
    },
)

__all__ = [
    "SPLITS",
    "EventSet",
    "Frames",
    "Part",
    "Recording",
    "Recordings",
    "Sensor",
    "Slicing",
    "StoredFrames",
    "find",
    "frames",
]
