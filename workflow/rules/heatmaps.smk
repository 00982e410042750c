# Heatmaps: what a method says about a model, and controls that ignore the model.


rule explain:
    input:
        model="results/models/{model}/model.safetensors",
        record="results/models/{model}/model.json",
        dataset="results/data/{dataset}.json",
        code=code("explain"),
    output:
        manifest="results/heatmaps/{dataset}/{model}/{method}{part}.json",
    log:
        "results/logs/explain/{dataset}/{model}/{method}{part}.log",
    benchmark:
        "results/benchmarks/explain/{dataset}/{model}/{method}{part}.tsv"
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
        mem_mb=memory("explain"),
        runtime=minutes("explain"),
    params:
        model=lambda wildcards: entry("models", wildcards.model, "title", "train", "weights", "seed"),
        method=explained,
    message:
        "Explain {wildcards.model} on {wildcards.dataset} with {wildcards.method}{wildcards.part}"
    script:
        "../../scripts/explain.py"


rule explain_control:
    input:
        dataset="results/data/{dataset}.json",
        code=code("explain_control"),
    output:
        manifest="results/heatmaps/{dataset}/control/{method}.json",
    log:
        "results/logs/explain_control/{dataset}/{method}.log",
    benchmark:
        "results/benchmarks/explain_control/{dataset}/{method}.tsv"
    localrule: is_brief("explain_control")
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=memory("explain_control"),
        runtime=minutes("explain_control"),
    params:
        method=explained,
    message:
        "Make the control maps {wildcards.method} for {wildcards.dataset}"
    script:
        "../../scripts/explain_control.py"


# Beside other jobs it takes longer: see docs/definitions.md, "Cost".
rule time_method:
    input:
        model="results/models/{model}/model.safetensors",
        record="results/models/{model}/model.json",
        dataset="results/data/{dataset}.json",
        code=code("time_method"),
    output:
        timing="results/cost/{protocol}/{dataset}/{model}/{method}.json",
    log:
        "results/logs/time_method/{protocol}/{dataset}/{model}/{method}.log",
    benchmark:
        "results/benchmarks/time_method/{protocol}/{dataset}/{model}/{method}.tsv"
    wildcard_constraints:
        model=names("models", lambda item: True),
        method=names("methods", explains),
        protocol=protocols("cost"),
    group:
        model_group
    conda:
        "../../envs/torch.yaml"
    threads: config["threads"]["explain"]
    resources:
        in_turn=1,
        gpu=gpus,
        mem_mb=memory("time_method"),
        runtime=minutes("time_method"),
    params:
        model=lambda wildcards: entry("models", wildcards.model, "title", "train", "weights", "seed"),
        method=explained,
        settings=protocol,
    message:
        "Measure how long {wildcards.method} takes for an image of {wildcards.dataset} with {wildcards.model}"
    script:
        "../../scripts/time_method.py"
