# events + frames -> spots
rule spotfind:
    input:
        events=f"{TRIAL}/{{run}}/events.json",
    output:
        f"{TRIAL}/{{run}}/spots.json",
    log:
        f"{TRIAL}/logs/{{run}}/spotfind.log",
    benchmark:
        f"{TRIAL}/benchmarks/{{run}}/spotfind.tsv"
    threads: 2
    resources:
        mem_mb=2000,
        runtime=60,
        mpi="mpiexec",
        tasks=workers_and_one,
    params:
        settings=EXPERIMENT.spotfind.canonical(),
        worker=WORKER,
    message:
        "Finding spots in run {wildcards.run}"
    shell:
        "{resources.mpi} -n {resources.tasks} python -m mpi4py -m xfel_apps.spotfind"
        " --events {input.events} --spots {output}"
        " --settings {params.settings:q} --worker {params.worker:q} > {log} 2>&1"
