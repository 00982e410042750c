# Datasets: shards in ClickMe's format, and one chunked store per dataset.

from camstudy.core import ledger

SHARD_SIZE = 512


@cache
def outside(dataset):
    """What stands for the user's files that a dataset is made from, for params; see `camstudy.core.ledger`.

    They are no inputs, so that they may be elsewhere once the dataset is made.
    """
    root = CATALOG["datasets"][dataset].get("root", ".")
    return ledger.outside(ledger.table_of(f"results/data/{dataset}.json"), root)


def made_shards(wildcards):
    """Inputs: the records of shards that are drawn or downloaded; the shards lie beside them."""
    item = CATALOG["datasets"][wildcards.dataset]
    if not is_drawn(item) and not isinstance(item["shards"], dict):
        return []
    return [f"{os.path.splitext(shard)[0]}.json" for shard in shards(wildcards)]


def reading(script):
    """Input: the code of a script and of what reads the dataset's source."""

    def files(wildcards):
        source = f"{workflow.basedir}/camstudy/data/sources/{CATALOG['datasets'][wildcards.dataset]['source']}.py"
        reader = [os.path.relpath(path, workflow.basedir) for path in (source, *imported_sources(source))]
        return list(dict.fromkeys(code(script) + reader))

    return files


# It needs the internet, which nodes of a cluster often lack.
localrules:
    fetch_shard,


rule make_digits:
    input:
        code=code("make_digits"),
    output:
        shard="results/raw/{dataset}/{shard}-of-{shards}.tfrecord",
        record="results/raw/{dataset}/{shard}-of-{shards}.json",
    log:
        "results/logs/make_digits/{dataset}-{shard}-of-{shards}.log",
    benchmark:
        "results/benchmarks/make_digits/{dataset}-{shard}-of-{shards}.tsv"
    wildcard_constraints:
        dataset=names("datasets", is_drawn),
    localrule: is_brief("make_digits", [job | {"shards": drawn_shards(job["dataset"])} for job in prepared(is_drawn)])
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


rule fetch_shard:
    input:
        code=code("fetch_shard"),
    output:
        shard="results/raw/{dataset}/{shard}.tfrecords",
        record="results/raw/{dataset}/{shard}.json",
    log:
        "results/logs/fetch_shard/{dataset}-{shard}.log",
    benchmark:
        "results/benchmarks/fetch_shard/{dataset}-{shard}.tsv"
    wildcard_constraints:
        dataset=names("datasets", lambda item: isinstance(item.get("shards"), dict)),
        shard=r"\d+",
    retries: 2
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=memory("fetch_shard"),
        runtime=minutes("fetch_shard"),
    params:
        source=shard_source,
        accepted="",
    message:
        "Fetch and verify shard {wildcards.shard} of {wildcards.dataset}"
    script:
        "../../scripts/fetch_shard.py"


rule prepare_dataset:
    input:
        records=made_shards,
        code=reading("prepare_dataset"),
    output:
        manifest="results/data/{dataset}.json",
    log:
        "results/logs/prepare_dataset/{dataset}.log",
    benchmark:
        "results/benchmarks/prepare_dataset/{dataset}.tsv"
    wildcard_constraints:
        dataset=names("datasets", lambda item: not is_photographs(item)),
    localrule: is_brief("prepare_dataset", prepared(lambda item: not is_photographs(item)))
    conda:
        "../../envs/data.yaml"
    threads: config["threads"]["prepare"]
    resources:
        mem_mb=memory("prepare_dataset"),
        runtime=minutes("prepare_dataset"),
    params:
        entry=lambda wildcards: entry("datasets", wildcards.dataset, "human_ceiling", "shards"),
        # In their order, of which inputs know nothing.
        shards=lambda wildcards: canonical(shards(wildcards)),
        halves=lambda wildcards: human_ceiling(wildcards) == "from_halves",
        content=lambda wildcards: outside(wildcards.dataset),
    message:
        "Prepare {wildcards.dataset}"
    script:
        "../../scripts/prepare_dataset.py"


rule prepare_photographs:
    input:
        code=reading("prepare_photographs"),
    output:
        manifest="results/data/{dataset}.json",
    log:
        "results/logs/prepare_photographs/{dataset}.log",
    benchmark:
        "results/benchmarks/prepare_photographs/{dataset}.tsv"
    wildcard_constraints:
        dataset=names("datasets", is_photographs),
    localrule: is_brief("prepare_photographs", prepared(is_photographs))
    conda:
        "../../envs/data.yaml"
    threads: config["threads"]["prepare"]
    resources:
        mem_mb=memory("prepare_photographs"),
        runtime=minutes("prepare_photographs"),
    params:
        entry=lambda wildcards: entry("datasets", wildcards.dataset, "human_ceiling", "root"),
        content=lambda wildcards: outside(wildcards.dataset),
    message:
        "Prepare {wildcards.dataset}"
    script:
        "../../scripts/prepare_photographs.py"
