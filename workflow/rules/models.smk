# Models: starting weights, training, and the finished model of every catalogue entry.


# Downloads need the internet, which nodes of a cluster often lack; the others take seconds.
localrules:
    fetch_weights,
    assemble_model,
    export_demo_weights,


rule fetch_weights:
    input:
        file=weight_file,
        code=code("fetch_weights"),
    output:
        weights="results/weights/{model}.safetensors",
        record="results/weights/{model}.json",
    log:
        "results/logs/fetch_weights/{model}.log",
    benchmark:
        "results/benchmarks/fetch_weights/{model}.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=memory("fetch_weights"),
        runtime=minutes("fetch_weights"),
    params:
        entry=weights_entry,
    message:
        "Fetch and verify the starting weights of {wildcards.model}"
    script:
        "../../scripts/fetch_weights.py"


rule train:
    input:
        unpack(starting_weights),
        dataset=training_data,
        code=code("train"),
    output:
        model="results/models/{model}/model.safetensors",
        record="results/models/{model}/model.json",
        history="results/models/{model}/history.csv",
    log:
        "results/logs/train/{model}.log",
    benchmark:
        "results/benchmarks/train/{model}.tsv"
    wildcard_constraints:
        model=names("models", lambda item: item["train"]),
    group:
        model_group
    conda:
        "../../envs/torch.yaml"
    threads: config["threads"]["train"]
    resources:
        in_turn=1,
        gpu=training_gpus,
        # Or SLURM may give GPUs of several.
        nodes=1,
        mem_mb=memory("train"),
        runtime=minutes("train"),
    params:
        entry=lambda wildcards: entry("models", wildcards.model, "title", "target_layer", "train.gpu"),
    message:
        "Train {wildcards.model}"
    script:
        "../../scripts/train.py"


rule assemble_model:
    input:
        unpack(starting_weights),
        code=code("assemble_model"),
    output:
        model="results/models/{model}/model.safetensors",
        record="results/models/{model}/model.json",
    log:
        "results/logs/assemble_model/{model}.log",
    benchmark:
        "results/benchmarks/assemble_model/{model}.tsv"
    wildcard_constraints:
        model=names("models", lambda item: not item["train"]),
    conda:
        "../../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=memory("assemble_model"),
        runtime=minutes("assemble_model"),
    params:
        entry=lambda wildcards: entry("models", wildcards.model, "title", "target_layer"),
    message:
        "Assemble {wildcards.model} as it is, without training"
    script:
        "../../scripts/assemble_model.py"


# Weights play no part, so that another training measures nothing again.
rule cost:
    input:
        code=code("cost"),
    output:
        cost="results/cost/{protocol}/{model}.json",
    log:
        "results/logs/cost/{protocol}/{model}.log",
    benchmark:
        "results/benchmarks/cost/{protocol}/{model}.tsv"
    wildcard_constraints:
        model=names("models", lambda item: True),
        protocol=protocols("cost"),
    conda:
        "../../envs/torch.yaml"
    threads: config["threads"]["explain"]
    resources:
        gpu=gpus,
        mem_mb=memory("cost"),
        runtime=minutes("cost"),
    params:
        model=lambda wildcards: entry("models", wildcards.model, "title", "train", "weights", "target_layer", "seed"),
        settings=lambda wildcards: entry("protocols", wildcards.protocol, "title", "family", "seconds"),
    message:
        "Measure what {wildcards.model} costs"
    script:
        "../../scripts/cost.py"


rule export_demo_weights:
    input:
        model="results/models/{model}_pretraining/model.safetensors",
        record="results/models/{model}_pretraining/model.json",
        code=code("export_demo_weights"),
    output:
        weights="results/demo_weights/{model}.safetensors",
        record="results/demo_weights/{model}.json",
    log:
        "results/logs/export_demo_weights/{model}.log",
    benchmark:
        "results/benchmarks/export_demo_weights/{model}.tsv"
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=memory("export_demo_weights"),
        runtime=minutes("export_demo_weights"),
    message:
        "Export the demo weights {wildcards.model}"
    script:
        "../../scripts/export_demo_weights.py"
