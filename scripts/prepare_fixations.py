"""Prepare where people looked at a dataset's images, whose files have changed since the images were prepared."""

from camstudy.data.archives import check_archives
from camstudy.data.dataset import open_dataset
from camstudy.data.formats.files import Root
from camstudy.data.formats.looks import write_looks
from camstudy.data.sources import SOURCES
from camstudy.pipeline import paths
from camstudy.pipeline.job import step

with step(snakemake):
    entry = snakemake.config["catalog"]["datasets"][snakemake.wildcards.dataset]
    check_archives(snakemake.input.archives)
    found = SOURCES[entry["source"]].read(entry, Root(paths.root(entry)))
    dataset = open_dataset(snakemake.input.dataset)
    write_looks(snakemake.output.manifest, dataset, found, identity=snakemake.params.identity)
