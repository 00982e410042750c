# Datasets: shards in ClickMe's format, and one chunked store per dataset.

SHARD_SIZE = 512


rule make_digits:
    input:
        code=code("make_digits"),
    output:
        "results/raw/{dataset}/{shard}-of-{shards}.tfrecord",
    log:
        "results/logs/make_digits/{dataset}-{shard}-of-{shards}.log",
    benchmark:
        "results/benchmarks/make_digits/{dataset}-{shard}-of-{shards}.tsv"
    wildcard_constraints:
        dataset=names("datasets", lambda item: item["source"] == "digits"),
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=memory("make_digits"),
        runtime=minutes("make_digits"),
    params:
        entry=lambda wildcards: entry("datasets", wildcards.dataset, "human_ceiling"),
        shard_size=SHARD_SIZE,
    message:
        "Draw scenes of {wildcards.dataset}, shard {wildcards.shard} of {wildcards.shards}"
    script:
        "../../scripts/make_digits.py"


rule prepare_dataset:
    input:
        shards=shards,
        code=code("prepare_dataset"),
    output:
        manifest="results/data/{dataset}.json",
    log:
        "results/logs/prepare_dataset/{dataset}.log",
    benchmark:
        "results/benchmarks/prepare_dataset/{dataset}.tsv"
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=memory("prepare_dataset"),
        runtime=minutes("prepare_dataset"),
    params:
        entry=lambda wildcards: entry("datasets", wildcards.dataset, "human_ceiling"),
        halves=lambda wildcards: human_ceiling(wildcards) == "from_halves",
    message:
        "Prepare {wildcards.dataset}"
    script:
        "../../scripts/prepare_dataset.py"
