# Scores: one row per image, one column per metric, and what people reach among themselves. Tables lie beside records.


rule prediction:
    input:
        model="results/models/{model}/model.json",
        dataset="results/data/{dataset}.json",
    output:
        record="results/scores/{dataset}/{model}/prediction.json",
        scores="results/scores/{dataset}/{model}/prediction.parquet",
    log:
        "results/logs/prediction/{dataset}/{model}.log",
    benchmark:
        "results/benchmarks/prediction/{dataset}/{model}.tsv"
    wildcard_constraints:
        model=STUDY.names("models"),
    group:
        GROUP
    conda:
        "../../envs/torch.yaml"
    threads: config["threads"]["explain"]
    resources:
        in_turn=1,
        gpu=JOBS.gpus(),
        mem_mb=JOBS.memory("prediction"),
        runtime=JOBS.minutes("prediction"),
    params:
        identity=lambda w: IDENTITY.prediction(w.dataset, w.model),
    message:
        "Classify {wildcards.dataset} with {wildcards.model}"
    script:
        "../../scripts/prediction.py"


# Families of metrics that need the network are scored on a GPU, as `score_on_model`; `camstudy/metrics/scoring` says what
# each needs, and which tables it writes beside the scores, such as `{protocol}{part}.curves.parquet`.
rule score:
    input:
        unpack(INPUTS.evidence),
        dataset="results/data/{dataset}.json",
    output:
        record="results/scores/{dataset}/{model}/{method}/{protocol}{part}.json",
        scores="results/scores/{dataset}/{model}/{method}/{protocol}{part}.parquet",
    log:
        "results/logs/score/{dataset}/{model}/{method}/{protocol}{part}.log",
    benchmark:
        "results/benchmarks/score/{dataset}/{model}/{method}/{protocol}{part}.tsv"
    wildcard_constraints:
        protocol=STUDY.names("protocols", STUDY.scores_maps),
    localrule: JOBS.is_brief("score", [{"dataset": STUDY.dataset}])
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=JOBS.memory("score"),
        runtime=JOBS.minutes("score"),
    params:
        identity=lambda w: IDENTITY.scores(w.dataset, w.model, w.method, w.protocol),
    message:
        "Score {wildcards.method} of {wildcards.model} on {wildcards.dataset}{wildcards.part} by {wildcards.protocol}"
    script:
        "../../scripts/score.py"


rule score_on_model:
    input:
        unpack(INPUTS.evidence),
        dataset="results/data/{dataset}.json",
    output:
        record="results/scores/{dataset}/{model}/{method}/{protocol}{part}.json",
        scores="results/scores/{dataset}/{model}/{method}/{protocol}{part}.parquet",
    log:
        "results/logs/score_on_model/{dataset}/{model}/{method}/{protocol}{part}.log",
    benchmark:
        "results/benchmarks/score_on_model/{dataset}/{model}/{method}/{protocol}{part}.tsv"
    wildcard_constraints:
        model=STUDY.names("models"),
        protocol=STUDY.names("protocols", STUDY.scores_on_model),
    group:
        GROUP
    conda:
        "../../envs/torch.yaml"
    threads: config["threads"]["explain"]
    resources:
        in_turn=1,
        gpu=JOBS.gpus(),
        mem_mb=JOBS.memory("score_on_model"),
        runtime=JOBS.minutes("score_on_model"),
    params:
        identity=lambda w: IDENTITY.scores(w.dataset, w.model, w.method, w.protocol),
    message:
        "Score {wildcards.method} of {wildcards.model} on {wildcards.dataset}{wildcards.part} by {wildcards.protocol}"
    script:
        "../../scripts/score.py"


rule human_ceiling:
    input:
        dataset="results/data/{dataset}.json",
    output:
        ceiling="results/scores/{dataset}/human_ceiling.json",
    log:
        "results/logs/human_ceiling/{dataset}.log",
    benchmark:
        "results/benchmarks/human_ceiling/{dataset}.tsv"
    localrule: JOBS.is_brief("human_ceiling", [{"dataset": STUDY.dataset}])
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=JOBS.memory("human_ceiling"),
        runtime=JOBS.minutes("human_ceiling"),
    params:
        identity=lambda w: IDENTITY.ceiling(w.dataset),
    message:
        "Find the agreement between people on {wildcards.dataset}"
    script:
        "../../scripts/human_ceiling.py"
