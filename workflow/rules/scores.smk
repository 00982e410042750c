# Scores: one row per image, one column per metric, and what people reach among themselves.


rule accuracy:
    input:
        model="results/models/{model}/model.safetensors",
        record="results/models/{model}/model.json",
        dataset="results/data/{dataset}.json",
        code=code("accuracy"),
    output:
        scores="results/scores/{dataset}/{model}/accuracy.parquet",
    log:
        "results/logs/accuracy/{dataset}/{model}.log",
    benchmark:
        "results/benchmarks/accuracy/{dataset}/{model}.tsv"
    wildcard_constraints:
        model=names("models", lambda item: True),
    group:
        model_group
    conda:
        "../../envs/torch.yaml"
    threads: config["threads"]["explain"]
    resources:
        in_turn=1,
        gpu=gpus,
        mem_mb=memory("accuracy"),
        runtime=minutes("accuracy"),
    params:
        model=lambda wildcards: entry("models", wildcards.model, "title", "train", "weights", "seed", "target_layer"),
    message:
        "Classify {wildcards.dataset} with {wildcards.model}"
    script:
        "../../scripts/accuracy.py"


rule score_agreement:
    input:
        heatmaps=lambda wildcards: heatmap_files(wildcards.dataset, wildcards.model, wildcards.method),
        dataset="results/data/{dataset}.json",
        code=code("score_agreement"),
    output:
        scores="results/scores/{dataset}/{model}/{method}/{protocol}{part}.parquet",
    log:
        "results/logs/score_agreement/{dataset}/{model}/{method}/{protocol}{part}.log",
    benchmark:
        "results/benchmarks/score_agreement/{dataset}/{model}/{method}/{protocol}{part}.tsv"
    wildcard_constraints:
        protocol=protocols("agreement"),
    localrule: is_brief("score_agreement")
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=memory("score_agreement"),
        runtime=minutes("score_agreement"),
    params:
        postprocess=lambda wildcards: canonical(CATALOG["methods"][wildcards.method]["postprocess"]),
        settings=protocol,
    message:
        "Compare {wildcards.method}{wildcards.part} of {wildcards.model} with human maps"
    script:
        "../../scripts/score_agreement.py"


rule sweep_thresholds:
    input:
        heatmaps=lambda wildcards: heatmap_files(wildcards.dataset, wildcards.model, wildcards.method),
        dataset="results/data/{dataset}.json",
        code=code("sweep_thresholds"),
    output:
        scores="results/scores/{dataset}/{model}/{method}/{protocol}{part}.parquet",
    log:
        "results/logs/sweep_thresholds/{dataset}/{model}/{method}/{protocol}{part}.log",
    benchmark:
        "results/benchmarks/sweep_thresholds/{dataset}/{model}/{method}/{protocol}{part}.tsv"
    wildcard_constraints:
        model=names("models", lambda item: True),
        protocol=protocols("sweep"),
    localrule: is_brief("sweep_thresholds")
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=memory("sweep_thresholds"),
        runtime=minutes("sweep_thresholds"),
    params:
        settings=protocol,
    message:
        "Sweep the thresholds of {wildcards.method}{wildcards.part} of {wildcards.model}"
    script:
        "../../scripts/sweep_thresholds.py"


rule score_faithfulness:
    input:
        model="results/models/{model}/model.safetensors",
        record="results/models/{model}/model.json",
        heatmaps=network_maps,
        dataset="results/data/{dataset}.json",
        code=code("score_faithfulness"),
    output:
        scores="results/scores/{dataset}/{model}/{method}/{protocol}{part}.parquet",
        curves="results/scores/{dataset}/{model}/{method}/{protocol}{part}.curves.parquet",
    log:
        "results/logs/score_faithfulness/{dataset}/{model}/{method}/{protocol}{part}.log",
    benchmark:
        "results/benchmarks/score_faithfulness/{dataset}/{model}/{method}/{protocol}{part}.tsv"
    wildcard_constraints:
        model=names("models", lambda item: True),
        protocol=protocols("faithfulness"),
    group:
        model_group
    conda:
        "../../envs/torch.yaml"
    threads: config["threads"]["explain"]
    resources:
        in_turn=1,
        gpu=gpus,
        mem_mb=memory("score_faithfulness"),
        runtime=minutes("score_faithfulness"),
    params:
        model=lambda wildcards: entry("models", wildcards.model, "title", "train", "weights", "seed", "target_layer"),
        postprocess=lambda wildcards: canonical(CATALOG["methods"][wildcards.method]["postprocess"]),
        settings=protocol,
    message:
        "Try {wildcards.model} on {wildcards.dataset} masked by {wildcards.method}{wildcards.part}"
    script:
        "../../scripts/score_faithfulness.py"


rule score_localization:
    input:
        heatmaps=lambda wildcards: heatmap_files(wildcards.dataset, wildcards.model, wildcards.method),
        accuracy=predictions,
        dataset="results/data/{dataset}.json",
        code=code("score_localization"),
    output:
        scores="results/scores/{dataset}/{model}/{method}/{protocol}{part}.parquet",
    log:
        "results/logs/score_localization/{dataset}/{model}/{method}/{protocol}{part}.log",
    benchmark:
        "results/benchmarks/score_localization/{dataset}/{model}/{method}/{protocol}{part}.tsv"
    wildcard_constraints:
        protocol=protocols("localization"),
    localrule: is_brief("score_localization")
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=memory("score_localization"),
        runtime=minutes("score_localization"),
    params:
        postprocess=lambda wildcards: canonical(CATALOG["methods"][wildcards.method]["postprocess"]),
        settings=protocol,
    message:
        "Compare {wildcards.method}{wildcards.part} of {wildcards.model} with the boxes of {wildcards.dataset}"
    script:
        "../../scripts/score_localization.py"


rule score_sanity:
    input:
        model="results/models/{model}/model.safetensors",
        record="results/models/{model}/model.json",
        dataset="results/data/{dataset}.json",
        code=code("score_sanity"),
    output:
        scores="results/scores/{dataset}/{model}/{method}/{protocol}.parquet",
        stages="results/scores/{dataset}/{model}/{method}/{protocol}.stages.parquet",
    log:
        "results/logs/score_sanity/{dataset}/{model}/{method}/{protocol}.log",
    benchmark:
        "results/benchmarks/score_sanity/{dataset}/{model}/{method}/{protocol}.tsv"
    wildcard_constraints:
        model=names("models", lambda item: True),
        method=names("methods", explains),
        protocol=protocols("sanity"),
    group:
        model_group
    conda:
        "../../envs/torch.yaml"
    threads: config["threads"]["explain"]
    resources:
        in_turn=1,
        gpu=gpus,
        mem_mb=memory("score_sanity"),
        runtime=minutes("score_sanity"),
    params:
        model=lambda wildcards: entry("models", wildcards.model, "title", "train", "weights", "seed"),
        method=explained,
        settings=protocol,
    message:
        "Randomise {wildcards.model} under {wildcards.method} on {wildcards.dataset}"
    script:
        "../../scripts/score_sanity.py"


rule human_ceiling:
    input:
        dataset="results/data/{dataset}.json",
        code=code("human_ceiling"),
    output:
        ceiling="results/scores/{dataset}/human_ceiling.json",
    log:
        "results/logs/human_ceiling/{dataset}.log",
    benchmark:
        "results/benchmarks/human_ceiling/{dataset}.tsv"
    localrule: is_brief("human_ceiling")
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=memory("human_ceiling"),
        runtime=minutes("human_ceiling"),
    params:
        ceiling=lambda wildcards: canonical(human_ceiling(wildcards)),
    message:
        "Find the agreement between people on {wildcards.dataset}"
    script:
        "../../scripts/human_ceiling.py"
