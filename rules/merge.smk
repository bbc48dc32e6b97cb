# reflections of a dataset's runs -> merged
rule merge:
    input:
        dataset_reflections,
    output:
        manifest=f"{TRIAL}/datasets/{{dataset}}/{{version}}/merged.json",
        mtz=f"{TRIAL}/datasets/{{dataset}}/{{version}}/merged.mtz",
    log:
        f"{TRIAL}/logs/datasets/{{dataset}}/{{version}}/merge.log",
    benchmark:
        f"{TRIAL}/benchmarks/datasets/{{dataset}}/{{version}}/merge.tsv"
    threads: 2
    resources:
        mem_mb=4000,
        runtime=60,
        mpi="mpiexec",
        tasks=workers,
    params:
        settings=EXPERIMENT.merge.canonical(),
        key=dataset_key,
    message:
        "Merging dataset {wildcards.dataset} {wildcards.version}"
    shell:
        "{resources.mpi} -n {resources.tasks} python -m mpi4py -m xfel_apps.merge"
        " --reflections {input} --merged {output.manifest} --key {params.key}"
        " --settings {params.settings:q} > {log} 2>&1"
