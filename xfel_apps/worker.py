"""The common life of a per-shot stage: resume, share out shots, write, account for every event."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from pydantic import Field

from xfel_apps import mpi
from xfel_apps.config import Section, digest
from xfel_apps.containers.manifest import Manifest, count
from xfel_apps.containers.outcome import Outcome
from xfel_apps.containers.product import Product, ShotResult
from xfel_apps.containers.reader import ProductReader
from xfel_apps.containers.writer import ContainerWriter
from xfel_apps.errors import ShotTimeoutError, StoppedError, XfelError
from xfel_apps.progress import Progress


class WorkerSettings(Section):
    """How a rank works; changes no result."""

    flush_s: float = 5.0
    """Seconds between flushes: what a killed rank can lose."""
    shot_limit_s: float = 60.0
    """A shot that takes longer is given up as failed [s]; 0: no limit."""
    stop_before_s: float = Field(default=60.0, ge=0)
    """How long before a batch job's walltime is over the ranks flush and stop [s]."""


class Processor(Protocol):
    """What a stage does with shots on one rank."""

    def process(self, event: int) -> ShotResult:
        """Return what became of one shot; raise `XfelError` if it cannot be processed."""

    def before_flush(self) -> None:
        """Make durable whatever is kept beside the containers; called before each flush."""


class Digested(Protocol):
    """A manifest of anything."""

    @property
    def digest(self) -> str:
        """Digest of all that determines what it stands for."""


@dataclass(frozen=True)
class StageRun:
    """One stage on one run.

    Attributes
    ----------
    product : what is written
    manifest : path of the manifest, the file target; containers go in the folder beside it
    run : name of the run
    settings : the stage's section
    inputs : the manifests read, by product; what counts is their digest
    carried : outcome of every event before this stage
    todo : events that this stage is to process
    worker : how ranks work
    """

    product: Product
    manifest: Path
    run: str
    settings: Section
    inputs: Mapping[str, Digested]
    carried: Mapping[int, Outcome]
    todo: Sequence[int]
    worker: WorkerSettings = field(default_factory=WorkerSettings)

    @property
    def folder(self) -> Path:
        """Folder of the part files."""
        return self.manifest.with_suffix("")

    @property
    def digest(self) -> str:
        """Digest of all that determines the product."""
        inputs = [f"{name}={item.digest}" for name, item in sorted(self.inputs.items())]
        return digest(
            self.product.name, str(self.product.version), self.settings.canonical(), *inputs
        )


Finish = Callable[[ProductReader], tuple[Mapping[str, Any], Mapping[int, Outcome]]]


def no_finish(_reader: ProductReader) -> tuple[Mapping[str, Any], Mapping[int, Outcome]]:
    """Add nothing to the manifest and change no outcome."""
    return {}, {}


def run_stage(
    comm: mpi.Comm, job: StageRun, make: Callable[[], Processor], finish: Finish = no_finish
) -> Manifest:
    """Process what is left of the stage's shots on all ranks and write the manifest.

    Parameters
    ----------
    comm : ranks that take part
    job : what is to be done
    make : makes this rank's processor; called once on every rank that processes shots
    finish : called on rank 0 with all the shots; returns what the manifest says of the run as a
        whole, and outcomes that only the whole run can decide

    Raises
    ------
    StoppedError : a stop signal came, or the batch job's end; what was done is kept, run the
        same again to go on
    """
    todo: list[int] = mpi.agree(comm, lambda: _left_to_do(job))
    latest_s = mpi.end_of_job() - job.worker.stop_before_s
    with mpi.stop_on_signal(latest_s) as stop:
        complete = _work(comm, job, make, todo, stop)
    if not complete:
        is_late = time.time() >= latest_s
        why = "as the batch job's time is almost over" if is_late else "by a signal"
        raise StoppedError(
            f"{job.product.stage} of run {job.run} was stopped {why}; run the same command to go on"
        )
    manifest: Manifest = mpi.agree(comm, lambda: _account(job, finish))
    return manifest


def _left_to_do(job: StageRun) -> list[int]:
    """Return the events without a flushed result; parts of other settings are removed."""
    job.manifest.unlink(missing_ok=True)
    done = ProductReader.from_folder(job.folder, job.product, job.digest)
    keep = set(done.paths)
    done.close()
    for path in job.folder.glob("*.h5"):
        if path.name.startswith("rank-") and path not in keep:
            path.unlink()
    return [event for event in job.todo if event not in done]


def _work(
    comm: mpi.Comm,
    job: StageRun,
    make: Callable[[], Processor],
    todo: Sequence[int],
    stop: mpi.StopRequest,
) -> bool:
    """Share the shots out; return whether all are done."""
    works = todo and (comm.size == 1 or comm.rank > 0)
    rank = _Rank(job, make(), comm.rank) if works else None
    title = f"{job.product.stage} {job.run}"
    n_known = len(job.todo) - len(todo)
    try:
        with Progress(title, len(job.todo), n_known, shown=comm.rank == 0) as progress:
            return mpi.share_out(comm, todo, rank.do if rank else _nothing, progress.report, stop)
    finally:
        if rank:
            rank.close()
        comm.Barrier()


def _nothing(_event: int) -> str:
    raise AssertionError("rank without a processor was given work")


class StageWorker:
    """One stage on one rank: processes shots and writes them, timed and guarded.

    Parameters
    ----------
    processor : does the work
    writer : of the stage's product
    limit_s : a shot that takes longer has failed [s]; 0: no limit
    """

    def __init__(self, processor: Processor, writer: ContainerWriter, limit_s: float) -> None:
        self._processor = processor
        self._writer = writer
        self._limit_s = limit_s

    def do(self, event: int) -> ShotResult:
        """Process one event, write what came out and return it."""
        start_s, cpu_s = time.time(), time.process_time()
        result = self._guarded(event)
        self._writer.append(event, result, start_s, time.process_time() - cpu_s)
        return result

    def _guarded(self, event: int) -> ShotResult:
        """Process one event; whatever goes wrong with it is its own failure, not the run's."""
        try:
            with mpi.time_limit(self._limit_s):
                return self._processor.process(event)
        except ShotTimeoutError as err:
            return ShotResult(Outcome.FAILED, f"{self._writer.product.stage}: {err}")
        except XfelError as err:
            return ShotResult(Outcome.FAILED, str(err))
        except (ArithmeticError, LookupError, OSError, RuntimeError, TypeError, ValueError) as err:
            return ShotResult(Outcome.FAILED, f"{type(err).__name__}: {err}")

    def flush(self) -> None:
        """Make durable what was written."""
        self._processor.before_flush()
        self._writer.flush()

    def close(self) -> None:
        """Flush and close the container."""
        self._processor.before_flush()
        self._writer.close()


class _Rank:
    """One worker of a stage: flushes in time."""

    def __init__(self, job: StageRun, processor: Processor, rank: int) -> None:
        writer = ContainerWriter(job.folder, rank, job.product, job.digest)
        self._stage = StageWorker(processor, writer, job.worker.shot_limit_s)
        self._flush_s = job.worker.flush_s
        self._flushed_s = time.monotonic()

    def do(self, event: int) -> str:
        """Process one event and return its outcome's name."""
        result = self._stage.do(event)
        if time.monotonic() - self._flushed_s > self._flush_s:
            self._stage.flush()
            self._flushed_s = time.monotonic()
        return str(result.outcome)

    def close(self) -> None:
        """Flush and close the container."""
        self._stage.close()


def _account(job: StageRun, finish: Finish) -> Manifest:
    """Write the manifest from what lies in the containers; return it."""
    reader = ProductReader.from_folder(job.folder, job.product, job.digest)
    try:
        outcomes = dict(job.carried)
        shots = reader.shots()
        outcomes.update({int(e): Outcome(o) for e, o in shots["outcome"].items()})  # type: ignore[call-overload]  # pandas types its index as Hashable
        extra, decided = finish(reader)
        outcomes.update(decided)
        if decided:
            extra = {**extra, "decided": {str(event): str(end) for event, end in decided.items()}}
        manifest = Manifest(
            product=job.product.name,
            stage=job.product.stage,
            version=job.product.version,
            run=job.run,
            digest=job.digest,
            settings=job.settings.model_dump(mode="json"),
            inputs={name: item.digest for name, item in job.inputs.items()},
            n_events=len(job.carried),
            outcomes=count(outcomes),
            containers=tuple(f"{job.folder.name}/{path.name}" for path in reader.paths),
            extra=extra,
        )
    finally:
        reader.close()
    manifest.write(job.manifest)
    return manifest
