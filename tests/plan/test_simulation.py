"""The simulation against queueing theory, cases done by hand, and what must be conserved."""

from math import factorial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xfel_apps.plan.arrivals import Backlog, Job
from xfel_apps.plan.history import Activity, History
from xfel_apps.plan.outcome import node_time, waits_s
from xfel_apps.plan.settings import Filling, Reservation
from xfel_apps.plan.simulation import simulate

LONG_S = 1e9


def reservation(nodes: int, **changes: float) -> Reservation:
    """Return nodes that are given and taken at once."""
    at_once = {"schedule_s": 0, "warm_up_s": 0, "keep_warm_s": 0, "walltime_min": LONG_S}
    return Reservation.checked({"nodes": nodes, **at_once, **changes})


def filling(**changes: float) -> Filling:
    at_once = {"schedule_s": 0, "warm_up_s": 0, "give_way_s": 0, "walltime_min": LONG_S}
    return Filling.checked({**at_once, **changes})


def starts(history: History) -> list[tuple[int, float, float]]:
    """Return run, start and end of each job, in the order of the runs."""
    return sorted((done.job.run, done.start_s, done.end_s) for done in history.done)


def poisson_jobs(load: float, servers: int, n: int, exponential: bool) -> list[Job]:
    """Return jobs of one node and mean work 1 s that arrive at random."""
    rng = np.random.default_rng(5)
    arrivals_s = np.cumsum(rng.exponential(1 / (load * servers), n))
    work_s = rng.exponential(1.0, n) if exponential else np.ones(n)
    return [
        Job(run, float(at), 1, float(work))
        for run, (at, work) in enumerate(zip(arrivals_s, work_s, strict=True))
    ]


def erlang_c(load: float, servers: int) -> float:
    """Return the probability of a wait in M/M/c (Erlang 1917)."""
    a = load * servers
    waiting = a**servers / factorial(servers) / (1 - load)
    return waiting / (sum(a**k / factorial(k) for k in range(servers)) + waiting)


def error_of_mean(values: np.ndarray) -> float:
    """Return the standard error of a mean over values that go together in time."""
    batches = np.array_split(values, 20)
    return float(np.std([batch.mean() for batch in batches], ddof=1) / 20**0.5)


@pytest.mark.parametrize(("load", "servers"), [(0.5, 1), (0.7, 3), (0.85, 8)])
def test_random_work_waits_as_erlang_says(load, servers):
    jobs = poisson_jobs(load, servers, 20_000, exponential=True)
    history = simulate(reservation(servers), filling(), LONG_S, jobs)
    waits = waits_s(history)
    expected_s = erlang_c(load, servers) / (servers * (1 - load))
    assert waits.mean() == pytest.approx(expected_s, abs=4 * error_of_mean(waits))
    p_wait = (waits > 1e-9).astype(float)
    assert p_wait.mean() == pytest.approx(erlang_c(load, servers), abs=4 * error_of_mean(p_wait))


def test_equal_work_waits_as_pollaczek_and_khinchin_say():
    load = 0.7
    jobs = poisson_jobs(load, 1, 20_000, exponential=False)
    waits = waits_s(simulate(reservation(1), filling(), LONG_S, jobs))
    expected_s = load / (2 * (1 - load))  # of M/D/1, for work of 1 s
    assert waits.mean() == pytest.approx(expected_s, abs=4 * error_of_mean(waits))


def test_nodes_are_used_as_much_as_work_is_offered():
    jobs = poisson_jobs(0.6, 4, 20_000, exponential=True)
    shift_s = jobs[-1].arrival_s
    history = simulate(reservation(4), filling(), shift_s, jobs)
    offered = sum(job.work_s for job in jobs) / (4 * shift_s)
    assert node_time(history.uses, 4, shift_s)[Activity.LIVE] == pytest.approx(offered, abs=1e-3)


def test_jobs_start_in_order_and_none_overtakes():
    jobs = [Job(0, 0, 3, 10), Job(1, 1, 2, 10), Job(2, 2, 1, 10), Job(3, 3, 4, 10)]
    history = simulate(reservation(4), filling(), LONG_S, jobs)
    # Run 2 would fit beside run 0, but run 1 is in front of it.
    assert starts(history) == [(0, 0, 10), (1, 10, 20), (2, 10, 20), (3, 20, 30)]


def test_scheduling_and_warming_up_come_before_work():
    history = simulate(
        reservation(2, schedule_s=1, warm_up_s=5), filling(), 100, [Job(0, 10, 2, 20)]
    )
    assert starts(history) == [(0, 11, 36)]
    time = node_time(history.uses, 2, 100)
    assert (time[Activity.WARMING_UP], time[Activity.LIVE]) == pytest.approx((0.05, 0.20))


def test_a_warm_block_takes_the_next_work_at_once():
    jobs = [Job(0, 0, 1, 10), Job(1, 30, 1, 10), Job(2, 100, 1, 10)]
    kept = reservation(1, schedule_s=1, warm_up_s=5, keep_warm_s=40)
    history = simulate(kept, filling(), 200, jobs)
    # 1 + 5 + 10 = 16, warm until 56; warm again from 40 to 80, so run 2 finds a cold node.
    assert starts(history) == [(0, 1, 16), (1, 30, 40), (2, 101, 116)]
    warm_s = 200 * node_time(history.uses, 1, 200)[Activity.KEPT_WARM]
    assert warm_s == pytest.approx(14 + 40 + 40)


def test_work_beyond_the_walltime_goes_on_in_another_block():
    jobs = [Job(0, 0, 1, 100), Job(1, 1, 1, 10)]
    short = reservation(1, warm_up_s=10, walltime_min=1)
    history = simulate(short, filling(), LONG_S, jobs)
    # 50 s of work in the first minute, the rest in the second; the wait is until the first start.
    assert starts(history) == [(0, 0, 120), (1, 120, 140)]


def test_what_finds_no_nodes_goes_outside():
    jobs = [Job(0, 0, 2, 100), Job(1, 10, 2, 30), Job(2, 20, 2, 30)]
    more = reservation(2, warm_up_s=5, overflow_nodes=2, overflow_wait_min=1)
    history = simulate(more, filling(), LONG_S, jobs)
    # Run 1 has the nodes outside from 70 to 105; run 2 gets the reservation when run 0 ends.
    assert starts(history) == [(0, 0, 105), (1, 70, 105), (2, 105, 140)]
    assert sum(use.nodes * (use.end_s - use.start_s) for use in history.uses) == 2 * (105 + 35)


def test_preemptible_jobs_fill_and_give_way():
    fills = filling(schedule_s=2, warm_up_s=3, give_way_s=4, grace_s=60)
    history = simulate(reservation(4), fills, 100, [Job(0, 50, 3, 20)], [Backlog(0, LONG_S)])
    # Told at 50, gone at 54; idle again at 74, filled from 76 on.
    assert starts(history) == [(0, 54, 74)]
    node_s = {what: part * 400 for what, part in node_time(history.uses, 4, 100).items()}
    assert node_s[Activity.LOST] == pytest.approx(3 * 4)
    assert node_s[Activity.WARMING_UP] == pytest.approx(4 * 3 + 3 * 3)
    assert node_s[Activity.PREEMPTIBLE] == pytest.approx(3 * 45 + 95 + 3 * 21)
    assert sum(node_s.values()) == pytest.approx(400 - 4 * 2 - 3 * 2)


def test_scheduling_goes_on_while_preemptible_jobs_leave():
    fills = filling(give_way_s=4, grace_s=60)
    jobs = [Job(0, 50, 2, 20), Job(1, 90, 2, 20)]
    history = simulate(reservation(2, schedule_s=1), fills, 85, jobs, [Backlog(0, LONG_S)])
    # Told at 50, gone at 54, handed over at 55. Filled again at 76, told at 90.
    assert starts(history) == [(0, 55, 75), (1, 95, 115)]


def test_what_does_not_give_way_is_killed_and_loses_work():
    stubborn = filling(give_way_s=1000, grace_s=30, save_every_s=20)
    history = simulate(reservation(1), stubborn, 100, [Job(0, 50, 1, 20)], [Backlog(0, LONG_S)])
    assert starts(history) == [(0, 80, 100)]
    time = node_time(history.uses, 1, 100)
    assert time[Activity.PREEMPTIBLE] == pytest.approx(0.30)
    assert time[Activity.LOST] == pytest.approx(0.50)


def test_no_more_preemptible_jobs_go_than_are_in_the_way():
    """Two jobs have theirs told at once; for one that cannot start yet nobody is told."""
    fills = filling(give_way_s=8, grace_s=60)
    jobs = [Job(run, 50, 2, 6) for run in range(3)]
    history = simulate(reservation(5), fills, 55, jobs, [Backlog(0, LONG_S)])
    assert starts(history) == [(0, 58, 64), (1, 58, 64), (2, 64, 70)]
    told = [use for use in history.uses if use.what is Activity.LOST]
    assert sum(use.nodes for use in told) == 4


@st.composite
def situations(draw: st.DrawFn) -> tuple[Reservation, Filling, list[Job], list[Backlog]]:
    seconds = st.floats(0, 100)
    nodes = draw(st.integers(1, 6))
    job = st.builds(
        Job,
        run=st.integers(0, 3),
        arrival_s=seconds,
        nodes=st.integers(1, nodes),
        work_s=seconds,
        is_live=st.booleans(),
    )
    where = reservation(
        nodes,
        schedule_s=draw(st.sampled_from([0, 1])),
        warm_up_s=draw(st.sampled_from([0, 3])),
        keep_warm_s=draw(st.sampled_from([0, 20])),
        walltime_min=draw(st.sampled_from([0.5, 10])),
        overflow_nodes=draw(st.integers(0, 3)),
    )
    fills = filling(
        nodes=draw(st.integers(1, 3)),
        warm_up_s=draw(st.sampled_from([0, 4])),
        schedule_s=draw(st.sampled_from([0, 5])),
        give_way_s=draw(seconds),
        grace_s=20,
        walltime_min=draw(st.sampled_from([0.5, 10])),
    )
    backlog = draw(st.lists(st.builds(Backlog, seconds, st.floats(0, 500)), max_size=3))
    return where, fills, draw(st.lists(job, max_size=12)), backlog


@given(situations())
@settings(max_examples=150, deadline=None)
def test_work_done_is_work_arrived_on_nodes_that_exist(situation):
    where, fills, jobs, backlog = situation
    history = simulate(where, fills, 200, jobs, backlog)
    assert sorted(map(id, jobs)) == sorted(id(done.job) for done in history.done)
    assert all(done.start_s >= done.job.arrival_s for done in history.done)
    spent = dict.fromkeys(Activity, 0.0)
    for use in history.uses:
        spent[use.what] += use.nodes * (use.end_s - use.start_s)
    arrived = sum(part.node_s for part in backlog)
    assert spent[Activity.PREEMPTIBLE] + history.left_node_s == pytest.approx(arrived, abs=1e-3)
    if not where.overflow_nodes:
        worked = spent[Activity.LIVE] + spent[Activity.REPROCESSING]
        assert worked == pytest.approx(sum(job.nodes * job.work_s for job in jobs), abs=1e-3)
    for at_s in {use.start_s for use in history.uses}:
        busy = sum(use.nodes for use in history.uses if use.start_s <= at_s < use.end_s - 1e-9)
        assert busy <= where.nodes
