# events + spots + crystals + frames -> reflections
rule integrate:
    input:
        events=f"{TRIAL}/{{run}}/events.json",
        spots=f"{TRIAL}/{{run}}/spots.json",
        crystals=f"{TRIAL}/{{run}}/crystals.json",
    output:
        f"{TRIAL}/{{run}}/reflections.json",
    log:
        f"{TRIAL}/logs/{{run}}/integrate.log",
    benchmark:
        f"{TRIAL}/benchmarks/{{run}}/integrate.tsv"
    threads: 2
    resources:
        mem_mb=2000,
        runtime=60,
        mpi="mpiexec",
        tasks=workers_and_one,
    params:
        settings=EXPERIMENT.integrate.canonical(),
        worker=WORKER,
    message:
        "Integrating run {wildcards.run}"
    shell:
        "{resources.mpi} -n {resources.tasks} python -m mpi4py -m xfel_apps.integrate"
        " --events {input.events} --spots {input.spots} --crystals {input.crystals} --reflections {output}"
        " --settings {params.settings:q} --worker {params.worker:q} > {log} 2>&1"
