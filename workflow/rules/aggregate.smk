# The study's long tables, made of per-image scores: means with intervals, differences with tests.


rule aggregate_scores:
    input:
        scores=lambda w: [file for *_, file in INPUTS.all_scores()],
        correct=lambda w: INPUTS.correct(),
        prediction=lambda w: INPUTS.recognition(),
        ceiling=lambda w: INPUTS.ceiling(),
        items_of_maps=lambda w: INPUTS.items(STUDY.dataset),
        items_predicted=lambda w: INPUTS.items(STUDY.prediction_dataset),
    output:
        scores="results/studies/{study}/scores.parquet",
        comparisons="results/studies/{study}/comparisons.parquet",
    log:
        "results/logs/aggregate_scores/{study}.log",
    benchmark:
        "results/benchmarks/aggregate_scores/{study}.tsv"
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=JOBS.memory("aggregate_scores"),
        runtime=JOBS.minutes("aggregate_scores"),
    params:
        identity=lambda w: IDENTITY.aggregate("scores"),
        maps=lambda w: [tuple(key) for *key, _ in INPUTS.all_scores()],
    message:
        "Aggregate the scores of {wildcards.study}"
    script:
        "../../scripts/aggregate_scores.py"


rule aggregate_sweep:
    input:
        scores=lambda w: [file for *_, file in INPUTS.swept_scores()],
        correct=lambda w: INPUTS.correct(),
        ceiling=lambda w: INPUTS.ceiling(),
        items_of_maps=lambda w: INPUTS.items(STUDY.dataset),
    output:
        sweep="results/studies/{study}/sweep.parquet",
    log:
        "results/logs/aggregate_sweep/{study}.log",
    benchmark:
        "results/benchmarks/aggregate_sweep/{study}.tsv"
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=JOBS.memory("aggregate_sweep"),
        runtime=JOBS.minutes("aggregate_sweep"),
    params:
        identity=lambda w: IDENTITY.aggregate("sweep"),
        maps=lambda w: [tuple(key) for *key, _ in INPUTS.swept_scores()],
    message:
        "Aggregate the threshold sweep of {wildcards.study}"
    script:
        "../../scripts/aggregate_sweep.py"


rule aggregate_layers:
    input:
        scores=lambda w: [file for *_, file in INPUTS.stage_scores()],
        correct=lambda w: INPUTS.correct(),
        ceiling=lambda w: INPUTS.ceiling(),
        items_of_maps=lambda w: INPUTS.items(STUDY.dataset),
    output:
        layers="results/studies/{study}/layers.parquet",
    log:
        "results/logs/aggregate_layers/{study}.log",
    benchmark:
        "results/benchmarks/aggregate_layers/{study}.tsv"
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=JOBS.memory("aggregate_layers"),
        runtime=JOBS.minutes("aggregate_layers"),
    params:
        identity=lambda w: IDENTITY.aggregate("layers"),
        maps=lambda w: [tuple(key) for *key, _ in INPUTS.stage_scores()],
    message:
        "Aggregate the layer sweep of {wildcards.study}"
    script:
        "../../scripts/aggregate_layers.py"


rule aggregate_layer_scores:
    input:
        scores=lambda w: [file for *_, file in INPUTS.stage_scores("faithfulness")],
        correct=lambda w: INPUTS.correct(),
        items_of_maps=lambda w: INPUTS.items(STUDY.dataset),
    output:
        layers="results/studies/{study}/layer_scores.parquet",
    log:
        "results/logs/aggregate_layer_scores/{study}.log",
    benchmark:
        "results/benchmarks/aggregate_layer_scores/{study}.tsv"
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=JOBS.memory("aggregate_layer_scores"),
        runtime=JOBS.minutes("aggregate_layer_scores"),
    params:
        identity=lambda w: IDENTITY.aggregate("layer_scores"),
        maps=lambda w: [tuple(key) for *key, _ in INPUTS.stage_scores("faithfulness")],
    message:
        "Aggregate the faithfulness of the layer sweep of {wildcards.study}"
    script:
        "../../scripts/aggregate_layer_scores.py"


rule aggregate_curves:
    input:
        scores=lambda w: [file for *_, file in INPUTS.scores("faithfulness")],
        correct=lambda w: INPUTS.correct(),
    output:
        curves="results/studies/{study}/curves.parquet",
    log:
        "results/logs/aggregate_curves/{study}.log",
    benchmark:
        "results/benchmarks/aggregate_curves/{study}.tsv"
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=JOBS.memory("aggregate_curves"),
        runtime=JOBS.minutes("aggregate_curves"),
    params:
        identity=lambda w: IDENTITY.aggregate("curves"),
        maps=lambda w: [tuple(key) for *key, _ in INPUTS.scores("faithfulness")],
    message:
        "Average the curves of insertion and deletion of {wildcards.study}"
    script:
        "../../scripts/aggregate_curves.py"


rule aggregate_steps:
    input:
        scores=lambda w: [file for *_, file in INPUTS.scores("sanity")],
        correct=lambda w: INPUTS.correct(),
        items_of_maps=lambda w: INPUTS.items(STUDY.dataset),
    output:
        steps="results/studies/{study}/steps.parquet",
    log:
        "results/logs/aggregate_steps/{study}.log",
    benchmark:
        "results/benchmarks/aggregate_steps/{study}.tsv"
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=JOBS.memory("aggregate_steps"),
        runtime=JOBS.minutes("aggregate_steps"),
    params:
        identity=lambda w: IDENTITY.aggregate("steps"),
        maps=lambda w: [tuple(key) for *key, _ in INPUTS.scores("sanity")],
    message:
        "Aggregate the randomisation of {wildcards.study}"
    script:
        "../../scripts/aggregate_steps.py"


rule aggregate_redrawn:
    input:
        scores=lambda w: [file for *_, file in INPUTS.scores("redrawn")],
        correct=lambda w: INPUTS.correct(),
        items_of_maps=lambda w: INPUTS.items(STUDY.dataset),
    output:
        redrawn="results/studies/{study}/redrawn.parquet",
    log:
        "results/logs/aggregate_redrawn/{study}.log",
    benchmark:
        "results/benchmarks/aggregate_redrawn/{study}.tsv"
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=JOBS.memory("aggregate_redrawn"),
        runtime=JOBS.minutes("aggregate_redrawn"),
    params:
        identity=lambda w: IDENTITY.aggregate("redrawn"),
        maps=lambda w: [tuple(key) for *key, _ in INPUTS.scores("redrawn")],
    message:
        "Aggregate the maps drawn again of {wildcards.study}"
    script:
        "../../scripts/aggregate_redrawn.py"


rule aggregate_similarity:
    input:
        first=lambda w: [file for *_, file in INPUTS.compared_maps("baseline")],
        second=lambda w: [file for *_, file in INPUTS.compared_maps("variant")],
        correct=lambda w: INPUTS.correct(),
        items_of_maps=lambda w: INPUTS.items(STUDY.dataset),
    output:
        similarity="results/studies/{study}/similarity.parquet",
    log:
        "results/logs/aggregate_similarity/{study}.log",
    benchmark:
        "results/benchmarks/aggregate_similarity/{study}.tsv"
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=JOBS.memory("aggregate_similarity"),
        runtime=JOBS.minutes("aggregate_similarity"),
    params:
        identity=lambda w: IDENTITY.aggregate("similarity"),
        first_maps=lambda w: [tuple(key) for *key, _ in INPUTS.compared_maps("baseline")],
        second_maps=lambda w: [tuple(key) for *key, _ in INPUTS.compared_maps("variant")],
    message:
        "Compare the maps of the models of {wildcards.study}"
    script:
        "../../scripts/aggregate_similarity.py"


rule aggregate_by_prediction:
    input:
        scores=lambda w: [file for *_, file in INPUTS.split_scores()],
        prediction=lambda w: INPUTS.predictions(STUDY.dataset),
        ceiling=lambda w: INPUTS.ceiling(),
        items_of_maps=lambda w: INPUTS.items(STUDY.dataset),
    output:
        by_prediction="results/studies/{study}/by_prediction.parquet",
    log:
        "results/logs/aggregate_by_prediction/{study}.log",
    benchmark:
        "results/benchmarks/aggregate_by_prediction/{study}.tsv"
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=JOBS.memory("aggregate_by_prediction"),
        runtime=JOBS.minutes("aggregate_by_prediction"),
    params:
        identity=lambda w: IDENTITY.aggregate("by_prediction"),
        maps=lambda w: [tuple(key) for *key, _ in INPUTS.split_scores()],
    message:
        "Aggregate the scores of {wildcards.study} by right and wrong predictions"
    script:
        "../../scripts/aggregate_by_prediction.py"


rule aggregate_seeds:
    input:
        scores=lambda w: [file for *_, file in INPUTS.all_scores()],
        correct=lambda w: INPUTS.correct(),
        prediction=lambda w: INPUTS.recognition(),
        items_of_maps=lambda w: INPUTS.items(STUDY.dataset),
        items_predicted=lambda w: INPUTS.items(STUDY.prediction_dataset),
    output:
        seeds="results/studies/{study}/seeds.parquet",
    log:
        "results/logs/aggregate_seeds/{study}.log",
    benchmark:
        "results/benchmarks/aggregate_seeds/{study}.tsv"
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=JOBS.memory("aggregate_seeds"),
        runtime=JOBS.minutes("aggregate_seeds"),
    params:
        identity=lambda w: IDENTITY.aggregate("seeds"),
        maps=lambda w: [tuple(key) for *key, _ in INPUTS.all_scores()],
    message:
        "Aggregate the scores of {wildcards.study} over seeds"
    script:
        "../../scripts/aggregate_seeds.py"
