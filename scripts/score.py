"""Score a method's maps by a protocol of any family: one row per image, one column per metric, and tables beside."""

from camstudy.core.provenance import write_record
from camstudy.data.dataset import open_dataset
from camstudy.explain.store import Heatmaps
from camstudy.metrics.run import score
from camstudy.metrics.scoring import FAMILIES, Work
from camstudy.pipeline.job import step, torch_device
from camstudy.study.claims import claim

with step(snakemake) as run:
    config, names, inputs = snakemake.config, snakemake.wildcards, snakemake.input
    claim(config, names.protocol)
    catalog = config["catalog"]
    protocol = catalog["protocols"][names.protocol]
    family = FAMILIES[protocol["family"]]
    device = torch_device(config["device"], snakemake.resources, snakemake.threads) if family.on_model else None
    work = Work(
        family,
        protocol,
        open_dataset(inputs.dataset, inputs.fixations),
        Heatmaps(inputs.heatmaps) if family.on_maps else None,
        catalog["methods"][names.method],
        catalog["models"].get(names.model),
        {"prediction": inputs.prediction, "model": next(iter(inputs.model), None)},
        device,
        config["explain"]["batch_size"],
    )
    files = score(work, snakemake.output.scores, names.part)
    made_from = [*inputs.model, *inputs.heatmaps, *inputs.prediction]
    write_record(snakemake.output.record, snakemake.params.identity, *files, made_from=made_from)
    if device:
        run.note(device=str(device), batch_size=work.batch_size)
