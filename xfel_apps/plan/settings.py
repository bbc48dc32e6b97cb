"""Settings of a capacity plan: the shift, its work, the reservation and what fills it."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from xfel_apps.config import Section

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
MOST_RUNS = 100_000


class BeamTime(Section):
    """Runs as they come from the instrument."""

    shift_h: Positive = 12.0
    """Length of the shift, for which the nodes are reserved [h]."""
    run_min: Positive = 10.0
    """Mean length of a run [min]."""
    run_spread: NotNegative = 0.5
    """Standard deviation of the runs' lengths over their mean (gamma distribution)."""
    gap_min: NotNegative = 5.0
    """Mean time between the end of a run and the next one of the same sample [min]."""
    gap_spread: NotNegative = 1.0
    """Standard deviation of the gaps over their mean; the larger, the burstier the shift."""
    runs_per_sample: Annotated[float, Field(ge=1)] = 5.0
    """Mean number of runs between changes of the sample; large for a steady shift."""
    change_min: NotNegative = 20.0
    """Mean time that a change of the sample takes instead of a gap [min]."""
    shots_hz: Positive = 120.0
    """Shots a second during a run, those that are written [1/s]."""
    hit_fraction: Fraction = 0.1
    """Mean fraction of the shots that are hits."""
    hit_spread: NotNegative = 0.05
    """Standard deviation of the hit fraction from run to run (beta distribution)."""
    transfer_min: NotNegative = 3.0
    """From the last shot of a run (or chunk) to its files at the computing centre [min]."""
    chunk_min: NotNegative = 0.0
    """Work is submitted for every so many minutes of a run [min]; 0: when the run has ended."""

    @model_validator(mode="after")
    def _runs_can_be_counted(self) -> Self:
        shortest_min = min(self.run_min, self.chunk_min or self.run_min)
        if 60 * self.shift_h / shortest_min > MOST_RUNS:
            raise ValueError(
                f"more than {MOST_RUNS} runs or chunks in shift_h; raise run_min or chunk_min"
            )
        return self

    @model_validator(mode="after")
    def _hits_can_spread(self) -> Self:
        most = (self.hit_fraction * (1 - self.hit_fraction)) ** 0.5
        if self.hit_spread and self.hit_spread >= most:
            raise ValueError(
                f"hit_spread must be below {most:.3g} where hit_fraction is {self.hit_fraction:g}"
            )
        return self


class Work(Section):
    """What the shots cost."""

    hit_core_s: NotNegative = 0.038
    """A hit, all stages to integrated intensities [core-seconds] (`make bench-stages`)."""
    miss_core_s: NotNegative = 0.007
    """A miss [core-seconds] (`make bench-stages`)."""
    efficiency: Annotated[float, Field(gt=0, le=1)] = 0.9
    """Fraction of the cores' time that goes into shots."""
    nodes_per_job: Count = 1
    """Nodes of a job (or block); no job takes more than the reservation has."""
    trials: Annotated[int, Field(ge=0, le=100)] = 2
    """New parameters during the shift, at random times: all shots so far are done again."""
    backlog_node_h: NotNegative = 0.0
    """Reprocessing that waits when the shift begins, which only fills idle nodes [node-hours]."""


class Reservation(Section):
    """The reserved nodes and how work gets on them."""

    nodes: Annotated[int, Field(ge=1, le=20_000)] = 4
    """Nodes reserved for the shift."""
    cores_per_node: Count = 128
    """Cores of a node that do work."""
    schedule_s: NotNegative = 1.0
    """From the submission of a job, or the release of its nodes, to its start [s]."""
    warm_up_s: NotNegative = 30.0
    """From the start of a job or block to its first shot [s]."""
    keep_warm_s: NotNegative = 60.0
    """An idle block is kept so long for the next work, which then starts at once [s]."""
    walltime_min: Positive = 60.0
    """Longest a job or block may last; what is left is queued again, first in line [min]."""
    overflow_nodes: Annotated[int, Field(ge=0)] = 0
    """Nodes outside (the realtime queue) for work that would have to wait."""
    overflow_wait_min: NotNegative = 1.0
    """Wait for nodes outside [min]."""

    @model_validator(mode="after")
    def _lasts_longer_than_it_warms_up(self) -> Self:
        if self.warm_up_s >= 60 * self.walltime_min:
            raise ValueError("warm_up_s must be shorter than walltime_min")
        return self


class Filling(Section):
    """Preemptible jobs on idle nodes of the reservation."""

    reprocess: Literal["filling", "reservation"] = "filling"
    """Reprocessing fills idle nodes as preemptible jobs, or queues with the live work."""
    nodes: Count = 1
    """Nodes of a preemptible job."""
    walltime_min: Annotated[float, Field(ge=0.1)] = 30.0
    """Longest a preemptible job may last [min]."""
    schedule_s: NotNegative = 30.0
    """From nodes becoming idle to the start of a preemptible job on them [s]."""
    warm_up_s: NotNegative = 30.0
    """From its start to its first shot [s]."""
    give_way_s: NotNegative = 2.0
    """From the signal to its exit, everything saved [s]."""
    grace_s: NotNegative = 60.0
    """From the signal to its being killed [s]."""
    save_every_s: NotNegative = 10.0
    """A preemptible job that is killed loses so much of its work [s]."""

    @model_validator(mode="after")
    def _lasts_longer_than_it_warms_up(self) -> Self:
        if self.warm_up_s >= 60 * self.walltime_min:
            raise ValueError("warm_up_s must be shorter than walltime_min")
        return self


class PlanSettings(Section):
    """A shift at the beam line and the reservation that serves it."""

    beam: BeamTime = Field(default_factory=BeamTime)
    """Runs as they come from the instrument."""
    work: Work = Field(default_factory=Work)
    """What the shots cost."""
    reservation: Reservation = Field(default_factory=Reservation)
    """The reserved nodes and how work gets on them."""
    filling: Filling = Field(default_factory=Filling)
    """Preemptible jobs on idle nodes of the reservation."""
    result_within_min: Positive = 10.0
    """A run should be done so long after its last shot [min]."""
    result_share: Fraction = 0.9
    """Fraction of the runs for which this must hold."""
    repeats: Count = 200
    """Shifts that are simulated."""
    seed: Annotated[int, Field(ge=0)] = 1
    """Equal seeds give equal shifts, whatever the reservation."""
