# crystals of a dataset's runs -> geometry; not part of `all`: ask for the target `geometry`
rule geometry:
    input:
        expand(f"{TRIAL}/geometry/{{dataset}}/geometry.json", dataset=DATASETS),
    message:
        "The geometry of every dataset is refined"


rule refgeom:
    input:
        dataset_crystals,
    output:
        f"{TRIAL}/geometry/{{dataset}}/geometry.json",
    log:
        f"{TRIAL}/logs/geometry/{{dataset}}/refgeom.log",
    benchmark:
        f"{TRIAL}/benchmarks/geometry/{{dataset}}/refgeom.tsv"
    threads: 2
    resources:
        mem_mb=4000,
        runtime=60,
        mpi="mpiexec",
        tasks=workers,
    params:
        settings=EXPERIMENT.refgeom.canonical(),
    message:
        "Refining the geometry of dataset {wildcards.dataset}"
    shell:
        "{resources.mpi} -n {resources.tasks} python -m mpi4py -m xfel_apps.refgeom"
        " --crystals {input} --geometry {output} --settings {params.settings:q} > {log} 2>&1"
