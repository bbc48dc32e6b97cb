"""Frontier at OLCF (https://docs.olcf.ornl.gov/systems/frontier_user_guide.html)."""

from parsl_configs._blocks import Node
from parsl_configs._site import SlurmSite

SITE = SlurmSite(
    # It has no QOS for urgent or preemptible work; a job that names none has `normal`.
    qos={"reservation": None, "regular": None},
    # Nodes are alike; `nvme` makes their disks available. One core in eight is the system's (of
    # 64), and each of the four MI250X is two GPUs.
    kinds={"nvme": Node(cores=56, memory_mb=512_000, gpus=8)},
    interface="hsn0",
    # For srun: MPICH from PyPI speaks PMI-2, which is not what Cray's Slurm takes by itself.
    worker_init=("export SLURM_MPI_TYPE=pmi2", "export SLURM_GPU_BIND=closest"),
)
make_config = SITE.make_config
