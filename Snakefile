# camstudy: saliency-map studies as a workflow. A study is a YAML file; README.md says how to run one.
#
# results/
# ├── raw/                                           {dataset}/: TFRecord shards, drawn (demo) or downloaded; {archives}/: archives
# ├── data/{dataset}.zarr + .json                    images, labels, human maps, boxes, masks
# ├── weights/{model}.safetensors + .json            verified starting weights
# ├── models/{model}/                                check.json, model.safetensors, model.json, history.csv
# ├── heatmaps/{dataset}/{model}/{method}.zarr + .json   raw maps at native resolution; of a slow method in parts,
# │                                                      {method}/00000-01023.zarr + .json
# ├── scores/{dataset}/human_ceiling.json            the agreement between people
# ├── scores/{dataset}/{model}/                      prediction.parquet + .json; {method}/{protocol}.parquet + .json (rows:
# │                                                  images), and some {protocol}.{curves,steps}.parquet
# ├── protocols/{protocol}.json                      what its name stands for in these scores
# ├── cost/{protocol}/{model}.json                   parameters, multiply-adds, speed, memory
# ├── cost/{protocol}/{dataset}/{model}/{method}.json   seconds per image
# ├── demo_weights/                                  what `snakemake demo_weights` makes
# └── studies/{study}/
#     ├── config.yaml                                the configuration with every default
#     ├── {scores,comparisons,curves,sweep,layers,layer_scores,steps,similarity,seeds}.parquet   the long tables
#     ├── tables/{table}.{csv,md,tex,html}
#     ├── figures/{figure}.{png,pdf}
#     └── report/                                    what `make report` makes: index.html; workflow/, Snakemake's own
# All but studies/ is shared by all studies and never computed twice. Beside each result lies the record of its run, x.run.json.
from snakemake.utils import min_version

min_version("9.27")


# A study that is given takes the place of the default one as a whole.
if not workflow.overwrite_configfiles:

    configfile: "config/config.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/models.smk"
include: "workflow/rules/heatmaps.smk"
include: "workflow/rules/scores.smk"
include: "workflow/rules/aggregate.smk"
include: "workflow/rules/tables.smk"
include: "workflow/rules/plan.smk"


for each in workflow.rules:
    note_signatures(each.params)


report: "workflow/report/workflow.rst"


rule all:
    default_target: True
    input:
        targets,


rule demo_weights:
    input:
        expand("results/demo_weights/{model}.{ext}", model=STUDY.demo_weights(), ext=["safetensors", "json"]),
