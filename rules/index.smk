# events + spots -> crystals
rule index:
    input:
        events=f"{TRIAL}/{{run}}/events.json",
        spots=f"{TRIAL}/{{run}}/spots.json",
    output:
        f"{TRIAL}/{{run}}/crystals.json",
    log:
        f"{TRIAL}/logs/{{run}}/index.log",
    benchmark:
        f"{TRIAL}/benchmarks/{{run}}/index.tsv"
    threads: 2
    resources:
        mem_mb=2000,
        runtime=60,
        mpi="mpiexec",
        tasks=workers_and_one,
    params:
        settings=EXPERIMENT.index.canonical(),
        worker=WORKER,
    message:
        "Indexing run {wildcards.run}"
    shell:
        "{resources.mpi} -n {resources.tasks} python -m mpi4py -m xfel_apps.index"
        " --events {input.events} --spots {input.spots} --crystals {output}"
        " --settings {params.settings:q} --worker {params.worker:q} > {log} 2>&1"
