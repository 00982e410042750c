# The plan: what a study would cost, printed before anything runs.


localrules:
    plan,


rule plan:
    input:
        code=code("plan"),
    log:
        "results/logs/plan/plan.log",
    benchmark:
        "results/benchmarks/plan/plan.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=memory("plan"),
        runtime=minutes("plan"),
    params:
        snakefile=workflow.main_snakefile,
        gpu=bool(gpus()),
        outputs=first_outputs(),
    message:
        "Plan the study"
    script:
        "../../scripts/plan.py"
