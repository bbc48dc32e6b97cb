# merged + crystals + frames -> refined; part of `all` where the experiment says `pixels: shots`
rule refined:
    input:
        refined_runs(),
    message:
        "The shots of every dataset are refined against their pixels"


rule diffbragg:
    input:
        events=f"{TRIAL}/{{run}}/events.json",
        spots=f"{TRIAL}/{{run}}/spots.json",
        crystals=f"{TRIAL}/{{run}}/crystals.json",
        reflections=f"{TRIAL}/{{run}}/reflections.json",
        merged=f"{TRIAL}/datasets/{{dataset}}/{{version}}/merged.json",
    output:
        f"{TRIAL}/datasets/{{dataset}}/{{version}}/{{run}}/refined.json",
    log:
        f"{TRIAL}/logs/datasets/{{dataset}}/{{version}}/{{run}}/diffbragg.log",
    benchmark:
        f"{TRIAL}/benchmarks/datasets/{{dataset}}/{{version}}/{{run}}/diffbragg.tsv"
    threads: 2
    resources:
        mem_mb=2000,
        runtime=60,
        mpi="mpiexec",
        tasks=workers_and_one,
    params:
        settings=EXPERIMENT.diffbragg.canonical(),
        worker=WORKER,
    message:
        "Refining run {wildcards.run} against its pixels for dataset {wildcards.dataset}"
    shell:
        "{resources.mpi} -n {resources.tasks} python -m mpi4py -m xfel_apps.diffbragg"
        " --events {input.events} --spots {input.spots} --crystals {input.crystals}"
        " --reflections {input.reflections} --merged {input.merged} --refined {output}"
        " --settings {params.settings:q} --worker {params.worker:q} > {log} 2>&1"


# refined shots of all runs + merged -> factors; part of `all` where it says `pixels: factors`
rule factors:
    input:
        refined_factors(),
    message:
        "The structure factors of every dataset are refined against all pixels"


rule refine_structure_factors:
    input:
        events=dataset_events,
        refined=dataset_refined,
        merged=f"{TRIAL}/datasets/{{dataset}}/{{version}}/merged.json",
    output:
        f"{TRIAL}/datasets/{{dataset}}/{{version}}/factors.json",
    log:
        f"{TRIAL}/logs/datasets/{{dataset}}/{{version}}/factors.log",
    benchmark:
        f"{TRIAL}/benchmarks/datasets/{{dataset}}/{{version}}/factors.tsv"
    threads: 2
    resources:
        mem_mb=4000,
        runtime=60,
        mpi="mpiexec",
        tasks=workers,
    params:
        settings=EXPERIMENT.factors.canonical(),
    message:
        "Refining the structure factors of dataset {wildcards.dataset}"
    shell:
        "{resources.mpi} -n {resources.tasks} python -m mpi4py -m xfel_apps.factors"
        " --events {input.events} --refined {input.refined} --merged {input.merged}"
        " --factors {output} --settings {params.settings:q} > {log} 2>&1"
