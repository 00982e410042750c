# The plan: what a study would cost, printed before anything runs.


localrules:
    plan,


rule plan:
    log:
        "results/logs/plan/plan.log",
    benchmark:
        "results/benchmarks/plan/plan.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=JOBS.memory("plan"),
        runtime=JOBS.minutes("plan"),
    params:
        snakefile=workflow.main_snakefile,
        gpu=bool(JOBS.gpus()),
        outputs=first_outputs(),
    message:
        "Plan the study"
    script:
        "../../scripts/plan.py"
