# Heatmaps: what a method says about a model, and controls that ignore the model. Stores lie beside their manifests.


rule explain:
    input:
        check=CHECKS.before_maps,
        model="results/models/{model}/model.json",
        dataset="results/data/{dataset}.json",
    output:
        manifest="results/heatmaps/{dataset}/{model}/{method}{part}.json",
    log:
        "results/logs/explain/{dataset}/{model}/{method}{part}.log",
    benchmark:
        "results/benchmarks/explain/{dataset}/{model}/{method}{part}.tsv"
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
        mem_mb=JOBS.memory("explain"),
        runtime=JOBS.minutes("explain"),
    params:
        identity=lambda w: IDENTITY.explanation(w.dataset, w.model, w.method),
    message:
        "Explain {wildcards.model} on {wildcards.dataset} with {wildcards.method}{wildcards.part}"
    script:
        "../../scripts/explain.py"


rule explain_control:
    input:
        fixations=INPUTS.control_looks,
        dataset="results/data/{dataset}.json",
    output:
        manifest="results/heatmaps/{dataset}/control/{method}.json",
    log:
        "results/logs/explain_control/{dataset}/{method}.log",
    benchmark:
        "results/benchmarks/explain_control/{dataset}/{method}.tsv"
    localrule: JOBS.is_brief("explain_control", [{"dataset": STUDY.dataset}])
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=JOBS.memory("explain_control"),
        runtime=JOBS.minutes("explain_control"),
    params:
        identity=lambda w: IDENTITY.explanation(w.dataset, "control", w.method),
    message:
        "Make the control maps {wildcards.method} for {wildcards.dataset}"
    script:
        "../../scripts/explain_control.py"


# Beside other jobs it takes longer: see docs/definitions.md, "Cost".
rule time_method:
    input:
        model="results/models/{model}/model.json",
        dataset="results/data/{dataset}.json",
    output:
        timing="results/cost/{protocol}/{dataset}/{model}/{method}.json",
    log:
        "results/logs/time_method/{protocol}/{dataset}/{model}/{method}.log",
    benchmark:
        "results/benchmarks/time_method/{protocol}/{dataset}/{model}/{method}.tsv"
    wildcard_constraints:
        model=STUDY.names("models"),
        method=STUDY.names("methods", STUDY.explains),
        protocol=protocols("cost"),
    group:
        GROUP
    conda:
        "../../envs/torch.yaml"
    threads: config["threads"]["explain"]
    resources:
        in_turn=1,
        gpu=JOBS.gpus(),
        mem_mb=JOBS.memory("time_method"),
        runtime=JOBS.minutes("time_method"),
    params:
        identity=lambda w: IDENTITY.timing(w.dataset, w.model, w.method, w.protocol),
    message:
        "Measure how long {wildcards.method} takes for an image of {wildcards.dataset} with {wildcards.model}"
    script:
        "../../scripts/time_method.py"
