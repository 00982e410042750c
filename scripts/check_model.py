"""Check a catalogue model before it has weights: its architecture, layer, stages, logits; one image on its own."""

from camstudy.core.errors import CamstudyError
from camstudy.core.provenance import write_json
from camstudy.explain.checking import check_network
from camstudy.pipeline.checking import refuse_missing_stages
from camstudy.pipeline.job import step
from camstudy.study.study import Study

with step(snakemake):
    name, study = snakemake.wildcards.model, Study(snakemake.config)
    try:
        found = check_network(study.catalog["models"][name])
    except CamstudyError as error:
        raise CamstudyError(f"`catalog.models.{name}`: {error}") from None
    # What a study asks for is in no record: others share it.
    refuse_missing_stages(study, name, found)
    write_json(snakemake.output.check, {"identity": snakemake.params.identity, **found})
