# Datasets: shards in ClickMe's format and archives of photographs, and one chunked store per dataset.


# It needs the internet, which nodes of a cluster often lack.
localrules:
    fetch_shard,
    fetch_archive,


rule make_digits:
    output:
        record="results/raw/{dataset}/{shard}.json",
        shard="results/raw/{dataset}/{shard}.tfrecord",
    log:
        "results/logs/make_digits/{dataset}-{shard}.log",
    benchmark:
        "results/benchmarks/make_digits/{dataset}-{shard}.tsv"
    wildcard_constraints:
        dataset=STUDY.names("datasets", is_drawn),
        shard=r"\d+",
    localrule: JOBS.is_brief("make_digits", STUDY.drawn())
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=JOBS.memory("make_digits"),
        runtime=JOBS.minutes("make_digits"),
    params:
        identity=lambda w: IDENTITY.shard(w.dataset, int(w.shard)),
    message:
        "Draw scenes of {wildcards.dataset}, shard {wildcards.shard}"
    script:
        "../../scripts/make_digits.py"


rule fetch_shard:
    output:
        record="results/raw/{dataset}/{shard}.json",
        shard="results/raw/{dataset}/{shard}.tfrecord",
    log:
        "results/logs/fetch_shard/{dataset}-{shard}.log",
    benchmark:
        "results/benchmarks/fetch_shard/{dataset}-{shard}.tsv"
    wildcard_constraints:
        dataset=STUDY.names("datasets", lambda entry: isinstance(entry.get("shards"), dict)),
        shard=r"\d+",
    retries: 2
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=JOBS.memory("fetch_shard"),
        runtime=JOBS.minutes("fetch_shard"),
    params:
        identity=lambda w: IDENTITY.shard(w.dataset, int(w.shard)),
    message:
        "Fetch and verify shard {wildcards.shard} of {wildcards.dataset}"
    script:
        "../../scripts/fetch_shard.py"


rule fetch_archive:
    output:
        record="results/raw/{archives}/{file}.json",
        archive="results/raw/{archives}/{file}",
    log:
        "results/logs/fetch_archive/{archives}-{file}.log",
    benchmark:
        "results/benchmarks/fetch_archive/{archives}-{file}.tsv"
    wildcard_constraints:
        archives=STUDY.archive_names(),
        file=STUDY.archive_names(files=True),
    retries: 2
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=JOBS.memory("fetch_archive"),
        runtime=JOBS.minutes("fetch_archive"),
    params:
        identity=lambda w: IDENTITY.archive(w.archives, w.file),
    message:
        "Fetch {wildcards.file} for {wildcards.archives}"
    script:
        "../../scripts/fetch_archive.py"


rule prepare_dataset:
    input:
        shards=INPUTS.shards,
    output:
        manifest="results/data/{dataset}.json",
    log:
        "results/logs/prepare_dataset/{dataset}.log",
    benchmark:
        "results/benchmarks/prepare_dataset/{dataset}.tsv"
    wildcard_constraints:
        dataset=STUDY.names("datasets", lambda entry: not is_photographs(entry)),
    localrule: JOBS.is_brief("prepare_dataset", STUDY.prepared(photographs=False))
    conda:
        "../../envs/data.yaml"
    threads: config["threads"]["prepare"]
    resources:
        mem_mb=JOBS.memory("prepare_dataset"),
        runtime=JOBS.minutes("prepare_dataset"),
    params:
        identity=lambda w: IDENTITY.dataset(w.dataset),
    message:
        "Prepare {wildcards.dataset}"
    script:
        "../../scripts/prepare_dataset.py"


# What is below a user's `root` is no input: its content is in the identity, and what is prepared does not need it any more.
rule prepare_photographs:
    input:
        archives=INPUTS.archives,
    output:
        manifest="results/data/{dataset}.json",
    log:
        "results/logs/prepare_photographs/{dataset}.log",
    benchmark:
        "results/benchmarks/prepare_photographs/{dataset}.tsv"
    wildcard_constraints:
        dataset=STUDY.names("datasets", is_photographs),
    localrule: JOBS.is_brief("prepare_photographs", STUDY.prepared(photographs=True))
    conda:
        "../../envs/data.yaml"
    threads: config["threads"]["prepare"]
    resources:
        mem_mb=JOBS.memory("prepare_photographs"),
        runtime=JOBS.minutes("prepare_photographs"),
    params:
        identity=lambda w: IDENTITY.dataset(w.dataset),
    message:
        "Prepare {wildcards.dataset}"
    script:
        "../../scripts/prepare_photographs.py"


# Where people looked, where their files have changed since the images were prepared, of which maps are made.
rule prepare_fixations:
    input:
        archives=INPUTS.archives,
        dataset="results/data/{dataset}.json",
    output:
        manifest="results/data/{dataset}.fixations.json",
    log:
        "results/logs/prepare_fixations/{dataset}.log",
    benchmark:
        "results/benchmarks/prepare_fixations/{dataset}.tsv"
    wildcard_constraints:
        dataset=STUDY.names("datasets", has_looks),
    localrule: JOBS.is_brief("prepare_fixations", STUDY.prepared(photographs=True))
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=JOBS.memory("prepare_fixations"),
        runtime=JOBS.minutes("prepare_fixations"),
    params:
        identity=lambda w: IDENTITY.fixations(w.dataset),
    message:
        "Prepare the fixations of {wildcards.dataset}"
    script:
        "../../scripts/prepare_fixations.py"
