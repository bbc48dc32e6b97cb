"""Raw frames to structure factors: table of contents, in the order of the data flow."""


# Rules run in the environment that Snakemake runs in. Only with `--sdm apptainer` do they run in this
# image, which has the system that `make install` is made for.
container: "docker://python:3.11-bookworm"


include: "rules/common.smk"


rule all:
    default_target: True
    input:
        f"{TRIAL}/report.html",


include: "rules/ingest.smk"
include: "rules/spotfind.smk"
include: "rules/index.smk"
include: "rules/integrate.smk"
include: "rules/merge.smk"
include: "rules/refgeom.smk"
include: "rules/diffbragg.smk"
include: "rules/report.smk"
include: "rules/catalog.smk"
