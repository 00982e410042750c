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
        JOBS.group
    conda:
        "../../envs/torch.yaml"
    threads: config["threads"]["explain"]
    resources:
        in_turn=1,
        gpu=JOBS.gpus,
        mem_mb=JOBS.memory("prediction"),
        runtime=JOBS.minutes("prediction"),
    params:
        identity=lambda w: IDENTITY.prediction(w.dataset, w.model),
    message:
        "Classify {wildcards.dataset} with {wildcards.model}"
    script:
        "../../scripts/prediction.py"


rule score_agreement:
    input:
        heatmaps=INPUTS.heatmaps,
        dataset="results/data/{dataset}.json",
    output:
        record="results/scores/{dataset}/{model}/{method}/{protocol}.json",
        scores="results/scores/{dataset}/{model}/{method}/{protocol}.parquet",
    log:
        "results/logs/score_agreement/{dataset}/{model}/{method}/{protocol}.log",
    benchmark:
        "results/benchmarks/score_agreement/{dataset}/{model}/{method}/{protocol}.tsv"
    wildcard_constraints:
        protocol=protocols("agreement"),
    localrule: JOBS.is_brief("score_agreement", [{"dataset": STUDY.dataset}])
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=JOBS.memory("score_agreement"),
        runtime=JOBS.minutes("score_agreement"),
    params:
        identity=lambda w: IDENTITY.scores(w.dataset, w.model, w.method, w.protocol),
    message:
        "Compare {wildcards.method} of {wildcards.model} with human maps"
    script:
        "../../scripts/score_agreement.py"


rule sweep_thresholds:
    input:
        heatmaps=INPUTS.heatmaps,
        dataset="results/data/{dataset}.json",
    output:
        record="results/scores/{dataset}/{model}/{method}/{protocol}.json",
        scores="results/scores/{dataset}/{model}/{method}/{protocol}.parquet",
    log:
        "results/logs/sweep_thresholds/{dataset}/{model}/{method}/{protocol}.log",
    benchmark:
        "results/benchmarks/sweep_thresholds/{dataset}/{model}/{method}/{protocol}.tsv"
    wildcard_constraints:
        model=STUDY.names("models"),
        protocol=protocols("sweep"),
    localrule: JOBS.is_brief("sweep_thresholds", [{"dataset": STUDY.dataset}])
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=JOBS.memory("sweep_thresholds"),
        runtime=JOBS.minutes("sweep_thresholds"),
    params:
        identity=lambda w: IDENTITY.scores(w.dataset, w.model, w.method, w.protocol),
    message:
        "Sweep the thresholds of {wildcards.method} of {wildcards.model}"
    script:
        "../../scripts/sweep_thresholds.py"


rule score_faithfulness:
    input:
        model="results/models/{model}/model.json",
        heatmaps=INPUTS.heatmaps,
        dataset="results/data/{dataset}.json",
    output:
        record="results/scores/{dataset}/{model}/{method}/{protocol}{part}.json",
        scores="results/scores/{dataset}/{model}/{method}/{protocol}{part}.parquet",
        curves="results/scores/{dataset}/{model}/{method}/{protocol}{part}.curves.parquet",
    log:
        "results/logs/score_faithfulness/{dataset}/{model}/{method}/{protocol}{part}.log",
    benchmark:
        "results/benchmarks/score_faithfulness/{dataset}/{model}/{method}/{protocol}{part}.tsv"
    wildcard_constraints:
        model=STUDY.names("models"),
        protocol=protocols("faithfulness"),
    group:
        JOBS.group
    conda:
        "../../envs/torch.yaml"
    threads: config["threads"]["explain"]
    resources:
        in_turn=1,
        gpu=JOBS.gpus,
        mem_mb=JOBS.memory("score_faithfulness"),
        runtime=JOBS.minutes("score_faithfulness"),
    params:
        identity=lambda w: IDENTITY.scores(w.dataset, w.model, w.method, w.protocol),
    message:
        "Try {wildcards.model} on {wildcards.dataset} masked by {wildcards.method}{wildcards.part}"
    script:
        "../../scripts/score_faithfulness.py"


rule score_localization:
    input:
        heatmaps=INPUTS.heatmaps,
        prediction=INPUTS.prediction,
        dataset="results/data/{dataset}.json",
    output:
        record="results/scores/{dataset}/{model}/{method}/{protocol}.json",
        scores="results/scores/{dataset}/{model}/{method}/{protocol}.parquet",
    log:
        "results/logs/score_localization/{dataset}/{model}/{method}/{protocol}.log",
    benchmark:
        "results/benchmarks/score_localization/{dataset}/{model}/{method}/{protocol}.tsv"
    wildcard_constraints:
        protocol=protocols("localization"),
    localrule: JOBS.is_brief("score_localization", [{"dataset": STUDY.dataset}])
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=JOBS.memory("score_localization"),
        runtime=JOBS.minutes("score_localization"),
    params:
        identity=lambda w: IDENTITY.scores(w.dataset, w.model, w.method, w.protocol),
    message:
        "Compare {wildcards.method} of {wildcards.model} with the boxes of {wildcards.dataset}"
    script:
        "../../scripts/score_localization.py"


rule score_sanity:
    input:
        model="results/models/{model}/model.json",
        dataset="results/data/{dataset}.json",
    output:
        record="results/scores/{dataset}/{model}/{method}/{protocol}.json",
        scores="results/scores/{dataset}/{model}/{method}/{protocol}.parquet",
        stages="results/scores/{dataset}/{model}/{method}/{protocol}.stages.parquet",
    log:
        "results/logs/score_sanity/{dataset}/{model}/{method}/{protocol}.log",
    benchmark:
        "results/benchmarks/score_sanity/{dataset}/{model}/{method}/{protocol}.tsv"
    wildcard_constraints:
        model=STUDY.names("models"),
        method=STUDY.names("methods", STUDY.explains),
        protocol=protocols("sanity"),
    group:
        JOBS.group
    conda:
        "../../envs/torch.yaml"
    threads: config["threads"]["explain"]
    resources:
        in_turn=1,
        gpu=JOBS.gpus,
        mem_mb=JOBS.memory("score_sanity"),
        runtime=JOBS.minutes("score_sanity"),
    params:
        identity=lambda w: IDENTITY.scores(w.dataset, w.model, w.method, w.protocol),
    message:
        "Randomise {wildcards.model} under {wildcards.method} on {wildcards.dataset}"
    script:
        "../../scripts/score_sanity.py"


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
