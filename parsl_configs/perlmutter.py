"""Perlmutter at NERSC (https://docs.nersc.gov/jobs/policy, .../systems/perlmutter/architecture)."""

from parsl_configs._blocks import Node
from parsl_configs._site import SlurmSite

SITE = SlurmSite(
    # Without a QOS a job goes to `debug`, which has few nodes for half an hour.
    qos={
        "reservation": "regular",
        "realtime": "realtime",
        "preempt": "preempt",
        "regular": "regular",
    },
    # GPUs of 40 GB, and those of 80 GB.
    kinds={
        "cpu": Node(cores=128, memory_mb=512_000),
        "gpu": Node(cores=64, memory_mb=256_000, gpus=4),
        "gpu&hbm80g": Node(cores=64, memory_mb=256_000, gpus=4),
    },
    interface="hsn0",
    # For srun: MPICH from PyPI speaks PMI-2, which is not what Cray's Slurm takes by itself.
    worker_init=("export SLURM_MPI_TYPE=pmi2", "export SLURM_CPU_BIND=cores"),
)
make_config = SITE.make_config
