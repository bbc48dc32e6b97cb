"""The verb `live` of the command line."""

from pathlib import Path
from typing import Annotated

import typer

Files = Annotated[
    list[Path],
    typer.Argument(
        metavar="EXPERIMENT.yaml...",
        help="experiment file of the live trial; then files of trials that reprocess its runs "
        "with other settings, behind live data",
    ),
]


def live(
    files: Files,
    status: Annotated[
        bool, typer.Option("--status", help="show what the daemon does; Ctrl-C leaves")
    ] = False,
    once: Annotated[
        bool, typer.Option("--once", help="process all that is there and end; no run is waited for")
    ] = False,
    config: Annotated[
        str, typer.Option("--parsl-config", help="a module of parsl_configs: local, slurm, ...")
    ] = "local",
    blocks: Annotated[
        str | None,
        typer.Option(
            metavar="POOL=N,...",
            help="most blocks in each pool, the first to be filled first: reservation, realtime, "
            "preempt, regular [default: regular=1; with --reservation: reservation=1,preempt=1]",
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="ranks that work on a node [default: one a processor]"),
    ] = None,
    nodes: Annotated[int | None, typer.Option(min=1, help="nodes of a block")] = None,
    walltime: Annotated[str | None, typer.Option(help="of a block, HH:MM:SS")] = None,
    account: Annotated[str | None, typer.Option(help="that blocks are charged to")] = None,
    reservation: Annotated[str | None, typer.Option(help="that blocks may run in")] = None,
    constraint: Annotated[str | None, typer.Option(help="kind of nodes: cpu, gpu, ...")] = None,
    environment: Annotated[
        str | None, typer.Option(help="packed environment (pack-env) that blocks run from")
    ] = None,
) -> None:
    """Process runs while they are taken: frames to merged intensities within seconds.

    A daemon watches a folder, cuts what is new into chunks, keeps crews of MPI ranks at work on
    them (newest data first), merges as lattices come, and seals each run that is complete: then
    its files are those that the batch would have written. It may run for days on a login node;
    stopped or killed, start it again and it goes on.

    What is watched stands in the experiment file:

    `live: {watch: "/data/exp1/{run}.h5", datasets: {all: ["*"]}, exclude: []}`

    Runs that are put under `live.exclude` while it works leave the datasets at once. With a
    `catalog`, tags, datasets and trials that are made there take effect while it works.

    Example, on one machine: xfelflow live experiment.yaml

    In another terminal: xfelflow live --status experiment.yaml

    At a Slurm site: xfelflow live experiment.yaml --parsl-config slurm --reservation beamtime
    --account m1234 --blocks reservation=2,realtime=1,preempt=4 --nodes 4 --walltime 04:00:00

    Afterwards: snakemake --profile local --configfile results/TRIAL/experiment.yaml -n
    """
    from xfel_apps.live.fleet import Place, parse_blocks
    from xfel_apps.live.start import run_daemon, show_daemon

    if status:
        show_daemon(files[0])
        return
    pools = parse_blocks(blocks) if blocks else None
    place = Place(
        config=config,
        blocks=pools,
        workers=workers,
        nodes=nodes,
        walltime=walltime,
        account=account,
        reservation=reservation,
        constraint=constraint,
        environment=environment,
    )
    run_daemon(files, place, once=once)
