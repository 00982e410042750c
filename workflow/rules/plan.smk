# The plan: what a study would cost, printed before anything runs. Without a message, it is no step of the progress.


localrules:
    plan,


rule plan:
    log:
        "results/logs/plan/plan.log",
    conda:
        "../../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=JOBS.memory("plan"),
        runtime=JOBS.minutes("plan"),
    params:
        snakefile=str(FOLDER / "Snakefile"),
        gpu=bool(JOBS.gpus()),
        outputs=first_outputs(),
        benchmarks=benchmarks(),
    script:
        "../../scripts/plan.py"


# `make records`, which keeps the head from refusing what is to be looked at.
rule records:
    log:
        "results/logs/records/records.log",
    localrule: True
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=JOBS.memory("records"),
        runtime=JOBS.minutes("records"),
    params:
        snakefile=str(FOLDER / "Snakefile"),
    message:
        "Look for results that Snakemake has no record of"
    script:
        "../../scripts/records.py"
