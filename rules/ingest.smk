# raw files -> events
rule ingest:
    input:
        raw_files,
    output:
        f"{TRIAL}/{{run}}/events.json",
    log:
        f"{TRIAL}/logs/{{run}}/ingest.log",
    benchmark:
        f"{TRIAL}/benchmarks/{{run}}/ingest.tsv"
    resources:
        mem_mb=1000,
        runtime=20,
    params:
        settings=ingest_settings,
        paths=raw_paths,
    message:
        "Listing the shots of run {wildcards.run}"
    shell:
        "python -m mpi4py -m xfel_apps.ingest {params.paths:q} --run {wildcards.run}"
        " --events {output} --settings {params.settings:q} > {log} 2>&1"
