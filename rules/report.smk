# everything -> report.html
rule report:
    input:
        expand(f"{TRIAL}/{{run}}/reflections.json", run=EXPERIMENT.runs),
        [f"{folder.as_posix()}/merged.json" for folder in DATASETS.values()],
        refined_against_pixels(),
    output:
        f"{TRIAL}/report.html",
    log:
        f"{TRIAL}/logs/report.log",
    benchmark:
        f"{TRIAL}/benchmarks/report.tsv"
    resources:
        mem_mb=2000,
        runtime=20,
    message:
        "Writing the report {output}"
    shell:
        "python -m xfel_apps.report $(dirname {output}) --out {output} > {log} 2>&1"
