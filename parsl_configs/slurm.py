"""Any Slurm cluster whose QOS are named like the pools."""

from parsl_configs._site import SlurmSite

SITE = SlurmSite(
    qos={"reservation": None, "realtime": "realtime", "preempt": "preempt", "regular": "regular"},
)
make_config = SITE.make_config
