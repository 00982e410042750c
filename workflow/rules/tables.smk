# The study's own results beside its long tables: its configuration, tables and figures.


# Shorter than their submission to a cluster would be.
localrules:
    record_study,
    make_table,
    draw_scores,
    draw_maps,


rule record_study:
    output:
        config="results/studies/{study}/config.yaml",
    log:
        "results/logs/record_study/{study}.log",
    benchmark:
        "results/benchmarks/record_study/{study}.tsv"
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=JOBS.memory("record_study"),
        runtime=JOBS.minutes("record_study"),
    params:
        identity=lambda w: IDENTITY.configuration(),
    message:
        "Write down the configuration of {wildcards.study}"
    script:
        "../../scripts/record_study.py"


rule make_table:
    input:
        unpack(INPUTS.beside_scores),
        scores="results/studies/{study}/scores.parquet",
        comparisons="results/studies/{study}/comparisons.parquet",
        dataset=f"results/data/{STUDY.dataset}.json",
        ceiling=lambda w: INPUTS.ceiling(),
        models=lambda w: INPUTS.models(),
    output:
        csv="results/studies/{study}/tables/{table}.csv",
        md="results/studies/{study}/tables/{table}.md",
        tex="results/studies/{study}/tables/{table}.tex",
        html=report(
            "results/studies/{study}/tables/{table}.html",
            caption="../report/table.rst",
            category="Tables",
            labels=lambda w: {"table": INPUTS.label(w)},
        ),
    log:
        "results/logs/make_table/{study}/{table}.log",
    benchmark:
        "results/benchmarks/make_table/{study}/{table}.tsv"
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=JOBS.memory("make_table"),
        runtime=JOBS.minutes("make_table"),
    params:
        identity=lambda w: IDENTITY.table(w.table),
    message:
        "Make table {wildcards.table} of {wildcards.study}"
    script:
        "../../scripts/make_table.py"


rule draw_scores:
    input:
        unpack(INPUTS.beside_scores),
        scores="results/studies/{study}/scores.parquet",
        comparisons="results/studies/{study}/comparisons.parquet",
        dataset=f"results/data/{STUDY.dataset}.json",
        ceiling=lambda w: INPUTS.ceiling(),
        models=lambda w: INPUTS.models(),
    output:
        png=report(
            "results/studies/{study}/figures/{figure}.png",
            caption="../report/figure.rst",
            category="Figures",
            labels=lambda w: {"figure": INPUTS.label(w)},
        ),
        pdf="results/studies/{study}/figures/{figure}.pdf",
    log:
        "results/logs/draw_scores/{study}/{figure}.log",
    benchmark:
        "results/benchmarks/draw_scores/{study}/{figure}.tsv"
    wildcard_constraints:
        figure=STUDY.figure_names("scores"),
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=JOBS.memory("draw_scores"),
        runtime=JOBS.minutes("draw_scores"),
    params:
        identity=lambda w: IDENTITY.figure(w.figure),
    message:
        "Draw {wildcards.figure} of {wildcards.study}"
    script:
        "../../scripts/draw_scores.py"


rule draw_maps:
    input:
        heatmaps=lambda w: [file for *_, file in INPUTS.drawn_maps()],
        scores=lambda w: [file for *_, file in INPUTS.drawn_scores()],
        masked=lambda w: [file for *_, file in INPUTS.drawn_masked(w)],
        prediction=lambda w: INPUTS.drawn_predictions(),
        fixations=lambda w: INPUTS.fixations(STUDY.dataset),
        dataset=f"results/data/{STUDY.dataset}.json",
    output:
        png=report(
            "results/studies/{study}/figures/{figure}.png",
            caption="../report/figure.rst",
            category="Figures",
            labels=lambda w: {"figure": INPUTS.label(w)},
        ),
        pdf="results/studies/{study}/figures/{figure}.pdf",
    log:
        "results/logs/draw_maps/{study}/{figure}.log",
    benchmark:
        "results/benchmarks/draw_maps/{study}/{figure}.tsv"
    wildcard_constraints:
        figure=STUDY.figure_names("maps"),
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=JOBS.memory("draw_maps"),
        runtime=JOBS.minutes("draw_maps"),
    params:
        identity=lambda w: IDENTITY.map_figure(w.figure),
        maps=lambda w: [tuple(key) for *key, _ in INPUTS.drawn_maps()],
        scored=lambda w: [tuple(key) for *key, _ in INPUTS.drawn_scores()],
        masked=lambda w: [tuple(key) for *key, _ in INPUTS.drawn_masked(w)],
    message:
        "Draw {wildcards.figure} of {wildcards.study}"
    script:
        "../../scripts/draw_maps.py"
