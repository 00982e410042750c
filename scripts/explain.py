"""Explain every image of a dataset with one method and one model; chunks that a killed job left are kept."""

from camstudy.core.parts import part_slice
from camstudy.core.provenance import read_json
from camstudy.data.dataset import open_dataset
from camstudy.explain.explainer import Explainer
from camstudy.explain.methods import METHODS
from camstudy.explain.run import explain_dataset
from camstudy.models.load import weights_of
from camstudy.pipeline.job import step, torch_device

with step(snakemake) as run:
    names = {name: snakemake.wildcards[name] for name in ("dataset", "model", "method")}
    entry, method = (snakemake.config["catalog"][f"{kind}s"][names[kind]] for kind in ("model", "method"))
    device = torch_device(snakemake.config["device"], snakemake.resources, snakemake.threads)
    explainer = Explainer.load(entry, method, weights_of(snakemake.input.model), device)
    dataset = open_dataset(snakemake.input.dataset)
    facts = explain_dataset(
        snakemake.output.manifest,
        dataset,
        explainer,
        images=part_slice(snakemake.wildcards.part, dataset.n),
        settings=snakemake.config["explain"],
        attrs={
            **names,
            "parameters": dict(explainer.bound.parameters),
            "layer": explainer.layer.path,
            "target_policy": method["target"],
            "reference": METHODS[method["method"]].reference,
        },
        # A model that was trained once more has other weights under the same identity.
        identity=f"{snakemake.params.identity} weights={read_json(snakemake.input.model)['sha256'][:16]}",
    )
    run.note(**facts)
