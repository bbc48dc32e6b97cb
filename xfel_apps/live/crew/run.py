"""The life of a crew: take chunks, process them, end in good order."""

from xfel_apps import mpi
from xfel_apps.errors import StoppedError
from xfel_apps.live.crew.beat import Beat, CrewName, CrewState
from xfel_apps.live.crew.foreman import End, Foreman
from xfel_apps.live.crew.ledger import Ledger
from xfel_apps.live.crew.ranks import Follower, Leader, alone
from xfel_apps.live.crew.worker import CrewWorker
from xfel_apps.live.settings import LiveSettings
from xfel_apps.worker import WorkerSettings


def run_crew(comm: mpi.Comm, crew: CrewName, live: LiveSettings, worker: WorkerSettings) -> End:
    """Process chunks of the queue on all ranks until the crew ends; return why it did.

    Parameters
    ----------
    comm : ranks of the crew; with more than one, rank 0 only hands out
    crew : who it is
    live : how long it waits for work
    worker : how long before a batch job's end it stops

    Raises
    ------
    StoppedError : a stop signal came, or the batch job's end; what is left waits again
    """
    with mpi.stop_on_signal(mpi.end_of_job() - worker.stop_before_s) as stop:
        if comm.rank > 0:
            Follower(comm, CrewWorker(crew.name, comm.rank), stop).follow()
            end = None
        else:
            end = _lead(comm, crew, live, stop)
    agreed: End = comm.bcast(end)
    if agreed is End.STOPPED:
        raise StoppedError(f"crew {crew.name}: {agreed.value}")
    return agreed


def _lead(comm: mpi.Comm, crew: CrewName, live: LiveSettings, stop: mpi.StopRequest) -> End:
    """Run the crew from rank 0."""
    state = CrewState()
    ledger = Ledger(crew, state)
    foreman = Foreman(crew, ledger, stop, live.idle_s)
    with Beat(crew, comm.size, state):
        if comm.size == 1:
            end = alone(CrewWorker(crew.name, 0), ledger, foreman, stop)
        else:
            end = Leader(comm, ledger, foreman, state).lead()
        ledger.give_back()
    if comm.rank == 0:
        print(f"crew {crew.name}: {state.tally.n_shots} shots; {end.value}", flush=True)
    return end
