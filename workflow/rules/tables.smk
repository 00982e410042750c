# The study's own results: the long tables of scores, and what is drawn from them.


# Shorter than their submission to a cluster would be.
localrules:
    make_table,
    draw_scores,
    draw_maps,


rule aggregate_scores:
    input:
        scores=[file for *_, file in score_files()],
        accuracy=expand(
            "results/scores/{dataset}/{model}/accuracy.parquet",
            dataset=ACCURACY_DATASET,
            model=config["models"],
        ),
        ceiling=CEILING,
        code=code("aggregate_scores"),
    output:
        scores="results/{study}/scores.parquet",
        comparisons="results/{study}/comparisons.parquet",
    log:
        "results/logs/aggregate_scores/{study}.log",
    benchmark:
        "results/benchmarks/aggregate_scores/{study}.tsv"
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=memory("aggregate_scores"),
        runtime=minutes("aggregate_scores"),
    params:
        maps=[tuple(key) for *key, _ in score_files()],
        protocols={family: PROTOCOLS[family] for family in FAMILIES},
        models=config["models"],
        dataset=DATASET,
        accuracy_dataset=ACCURACY_DATASET,
        pairs=[[pair["baseline"], pair["variant"]] for pair in config["comparisons"]],
        study=study("seed", "statistics", "degenerate", iou=box_levels()),
    message:
        "Aggregate the scores of {wildcards.study}"
    script:
        "../../scripts/aggregate_scores.py"


rule aggregate_sweep:
    input:
        scores=[file for _, _, file in sweep_files()],
        ceiling=f"results/scores/{DATASET}/human_ceiling.json",
        code=code("aggregate_sweep"),
    output:
        sweep="results/{study}/sweep.parquet",
    log:
        "results/logs/aggregate_sweep/{study}.log",
    benchmark:
        "results/benchmarks/aggregate_sweep/{study}.tsv"
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=memory("aggregate_sweep"),
        runtime=minutes("aggregate_sweep"),
    params:
        maps=[(model, method) for model, method, _ in sweep_files()],
        protocol=PROTOCOLS["sweep"],
        dataset=DATASET,
        study=study("seed", "statistics", "degenerate"),
    message:
        "Aggregate the threshold sweep of {wildcards.study}"
    script:
        "../../scripts/aggregate_sweep.py"


rule aggregate_layers:
    input:
        scores=[file for _, _, file in layer_files()],
        ceiling=f"results/scores/{DATASET}/human_ceiling.json",
        code=code("aggregate_layers"),
    output:
        layers="results/{study}/layers.parquet",
    log:
        "results/logs/aggregate_layers/{study}.log",
    benchmark:
        "results/benchmarks/aggregate_layers/{study}.tsv"
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=memory("aggregate_layers"),
        runtime=minutes("aggregate_layers"),
    params:
        maps=[(model, method) for model, method, _ in layer_files()],
        stages=layer_sweep(config),
        protocol=lambda wildcards: protocol_of("agreement"),
        dataset=DATASET,
        study=study("seed", "statistics", "degenerate"),
    message:
        "Aggregate the layer sweep of {wildcards.study}"
    script:
        "../../scripts/aggregate_layers.py"


rule aggregate_curves:
    input:
        curves=lambda wildcards: [file for *_, file in score_files("faithfulness", kind=".curves")],
        code=code("aggregate_curves"),
    output:
        curves="results/{study}/curves.parquet",
    log:
        "results/logs/aggregate_curves/{study}.log",
    benchmark:
        "results/benchmarks/aggregate_curves/{study}.tsv"
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=memory("aggregate_curves"),
        runtime=minutes("aggregate_curves"),
    params:
        maps=lambda wildcards: [(model, method) for _, model, method, _ in score_files("faithfulness")],
        protocol=lambda wildcards: protocol_of("faithfulness"),
    message:
        "Average the curves of insertion and deletion of {wildcards.study}"
    script:
        "../../scripts/aggregate_curves.py"


rule aggregate_stages:
    input:
        stages=lambda wildcards: [file for _, _, file in stage_files()],
        code=code("aggregate_stages"),
    output:
        stages="results/{study}/stages.parquet",
    log:
        "results/logs/aggregate_stages/{study}.log",
    benchmark:
        "results/benchmarks/aggregate_stages/{study}.tsv"
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=memory("aggregate_stages"),
        runtime=minutes("aggregate_stages"),
    params:
        maps=lambda wildcards: [(model, method) for model, method, _ in stage_files()],
        protocol=lambda wildcards: protocol_of("sanity"),
        dataset=DATASET,
        study=study("seed", "statistics", "degenerate"),
    message:
        "Aggregate the randomisation of {wildcards.study}"
    script:
        "../../scripts/aggregate_stages.py"


rule make_table:
    input:
        unpack(further),
        scores="results/{study}/scores.parquet",
        comparisons="results/{study}/comparisons.parquet",
        dataset=f"results/data/{DATASET}.json",
        ceiling=CEILING,
        models=expand("results/models/{model}/model.json", model=config["models"]),
        code=code("make_table"),
    output:
        csv="results/{study}/tables/{table}.csv",
        md="results/{study}/tables/{table}.md",
        tex="results/{study}/tables/{table}.tex",
        html=report(
            "results/{study}/tables/{table}.html",
            caption="../report/table.rst",
            category="Tables",
            labels={"table": "{table}"},
        ),
    log:
        "results/logs/make_table/{study}/{table}.log",
    benchmark:
        "results/benchmarks/make_table/{study}/{table}.tsv"
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=memory("make_table"),
        runtime=minutes("make_table"),
    params:
        study=shown,
        titles=titles("models", config["models"]),
    message:
        "Make table {wildcards.table} of {wildcards.study}"
    script:
        "../../scripts/make_table.py"


rule draw_scores:
    input:
        unpack(further),
        scores="results/{study}/scores.parquet",
        comparisons="results/{study}/comparisons.parquet",
        dataset=f"results/data/{DATASET}.json",
        ceiling=CEILING,
        models=expand("results/models/{model}/model.json", model=config["models"]),
        code=code("draw_scores"),
    output:
        png=report(
            "results/{study}/figures/{figure}.png",
            caption="../report/figure.rst",
            category="Figures",
            labels={"figure": "{figure}"},
        ),
        pdf="results/{study}/figures/{figure}.pdf",
    log:
        "results/logs/draw_scores/{study}/{figure}.log",
    benchmark:
        "results/benchmarks/draw_scores/{study}/{figure}.tsv"
    wildcard_constraints:
        figure=figure_names("scores"),
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=memory("draw_scores"),
        runtime=minutes("draw_scores"),
    params:
        study=shown,
        titles=titles("models", config["models"]),
    message:
        "Draw {wildcards.figure} of {wildcards.study}"
    script:
        "../../scripts/draw_scores.py"


rule draw_maps:
    input:
        heatmaps=[file for pair in maps(controls=False) for file in heatmap_files(DATASET, *pair)],
        scores=[file for *_, file in compared_maps()],
        accuracy=expand(
            "results/scores/{dataset}/{model}/accuracy.parquet",
            dataset=DATASET,
            model=config["models"],
        ),
        dataset=f"results/data/{DATASET}.json",
        code=code("draw_maps"),
    output:
        png=report(
            "results/{study}/figures/{figure}.png",
            caption="../report/figure.rst",
            category="Figures",
            labels={"figure": "{figure}"},
        ),
        pdf="results/{study}/figures/{figure}.pdf",
    log:
        "results/logs/draw_maps/{study}/{figure}.log",
    benchmark:
        "results/benchmarks/draw_maps/{study}/{figure}.tsv"
    wildcard_constraints:
        figure=figure_names("maps"),
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=memory("draw_maps"),
        runtime=minutes("draw_maps"),
    params:
        maps=[pair for pair in maps(controls=False) for _ in heatmap_files(DATASET, *pair)],
        scores=[(model, method) for _, model, method, _ in compared_maps()],
        models=config["models"],
        model_titles=titles("models", config["models"]),
        method_titles=titles("methods", config["methods"]),
        postprocess=canonical({name: CATALOG["methods"][name]["postprocess"] for name in config["methods"]}),
        settings=canonical(config["qualitative"]),
    message:
        "Draw {wildcards.figure} of {wildcards.study}"
    script:
        "../../scripts/draw_maps.py"
