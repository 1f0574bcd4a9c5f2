"""Tests, of one thread each: several processes share the cores, and threads for small matrices wait for each other."""

import os

os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # read when torch and numpy are imported
