# Models: starting weights, training, and the finished model of every catalogue entry. Weights lie beside their record.
from camstudy.pipeline.checking import Checks

CHECKS = Checks(IDENTITY)


# Downloads need the internet, which nodes of a cluster often lack; the others take seconds.
localrules:
    check_model,
    fetch_weights,
    assemble_model,
    export_demo_weights,


# It decides no result: what is yet to be made waits for it.
rule check_model:
    output:
        check="results/models/{model}/check.json",
    log:
        "results/logs/check_model/{model}.log",
    benchmark:
        "results/benchmarks/check_model/{model}.tsv"
    wildcard_constraints:
        model=STUDY.names("models"),
    conda:
        "../../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=JOBS.memory("check_model"),
        runtime=JOBS.minutes("check_model"),
    params:
        identity=lambda w: IDENTITY.check(w.model),
    message:
        "Check the network {wildcards.model}"
    script:
        "../../scripts/check_model.py"


rule fetch_weights:
    input:
        check=CHECKS.before_weights,
    output:
        record="results/weights/{model}.json",
        weights="results/weights/{model}.safetensors",
    log:
        "results/logs/fetch_weights/{model}.log",
    benchmark:
        "results/benchmarks/fetch_weights/{model}.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=JOBS.memory("fetch_weights"),
        runtime=JOBS.minutes("fetch_weights"),
    params:
        identity=lambda w: IDENTITY.weights(w.model),
    message:
        "Fetch and verify the starting weights of {wildcards.model}"
    script:
        "../../scripts/fetch_weights.py"


rule train:
    input:
        check=CHECKS.before_model,
        start=INPUTS.start,
        dataset=INPUTS.training_data,
    output:
        record="results/models/{model}/model.json",
        model="results/models/{model}/model.safetensors",
        history="results/models/{model}/history.csv",
    log:
        "results/logs/train/{model}.log",
    benchmark:
        "results/benchmarks/train/{model}.tsv"
    wildcard_constraints:
        model=STUDY.names("models", lambda entry: entry["train"]),
    group:
        GROUP
    conda:
        "../../envs/torch.yaml"
    threads: config["threads"]["train"]
    resources:
        in_turn=1,
        gpu=JOBS.training_gpus,
        # Or SLURM may give GPUs of several.
        nodes=1,
        mem_mb=JOBS.memory("train"),
        runtime=JOBS.minutes("train"),
    params:
        identity=lambda w: IDENTITY.model(w.model),
    message:
        "Train {wildcards.model}"
    script:
        "../../scripts/train.py"


rule assemble_model:
    input:
        check=CHECKS.before_model,
        start=INPUTS.start,
    output:
        record="results/models/{model}/model.json",
        model="results/models/{model}/model.safetensors",
    log:
        "results/logs/assemble_model/{model}.log",
    benchmark:
        "results/benchmarks/assemble_model/{model}.tsv"
    wildcard_constraints:
        model=STUDY.names("models", lambda entry: not entry["train"]),
    conda:
        "../../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=JOBS.memory("assemble_model"),
        runtime=JOBS.minutes("assemble_model"),
    params:
        identity=lambda w: IDENTITY.model(w.model),
    message:
        "Assemble {wildcards.model} as it is, without training"
    script:
        "../../scripts/assemble_model.py"


# Weights play no part, so that another training measures nothing again.
rule cost:
    output:
        cost="results/cost/{protocol}/{model}.json",
    log:
        "results/logs/cost/{protocol}/{model}.log",
    benchmark:
        "results/benchmarks/cost/{protocol}/{model}.tsv"
    wildcard_constraints:
        model=STUDY.names("models"),
        protocol=protocols("cost"),
    conda:
        "../../envs/torch.yaml"
    threads: config["threads"]["explain"]
    resources:
        gpu=JOBS.gpus(),
        mem_mb=JOBS.memory("cost"),
        runtime=JOBS.minutes("cost"),
    params:
        identity=lambda w: IDENTITY.cost(w.model, w.protocol),
    message:
        "Measure what {wildcards.model} costs"
    script:
        "../../scripts/cost.py"


rule export_demo_weights:
    input:
        record="results/models/{model}_pretraining/model.json",
    output:
        record="results/demo_weights/{model}.json",
        weights="results/demo_weights/{model}.safetensors",
    log:
        "results/logs/export_demo_weights/{model}.log",
    benchmark:
        "results/benchmarks/export_demo_weights/{model}.tsv"
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=JOBS.memory("export_demo_weights"),
        runtime=JOBS.minutes("export_demo_weights"),
    params:
        identity=lambda w: IDENTITY.model(f"{w.model}_pretraining"),
    message:
        "Export the demo weights {wildcards.model}"
    script:
        "../../scripts/export_demo_weights.py"
