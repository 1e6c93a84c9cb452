"""The torch side of the service: Celery workers, the dispatcher and the sweeper."""

import os

# Before anything imports torch, which reads it once. OpenMP threads spin while they wait for each other; beside
# decoding threads, or another process on the same CPUs, that has cost a tiny network 30 times its time.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
