"""Prepare a dataset of photographs of all sizes: files, labels or gaze, from what its distributors publish."""

from camstudy.core.errors import CamstudyError
from camstudy.core.identity import parts
from camstudy.core.ledger import listing_of, outside, table_of
from camstudy.data.archives import check_archives
from camstudy.data.formats.clickme import select
from camstudy.data.formats.files import Root, start
from camstudy.data.formats.photographs import note_read, readable, write_photographs
from camstudy.data.formats.pixels import write_pixels
from camstudy.data.sources import SOURCES
from camstudy.pipeline import paths
from camstudy.pipeline.job import step

with step(snakemake):
    name, manifest = snakemake.wildcards.dataset, snakemake.output.manifest
    entry, content = snakemake.config["catalog"]["datasets"][name], parts(snakemake.params.identity).get("content", "")
    check_archives(snakemake.input.archives)
    root, source, own = Root(paths.root(entry)), SOURCES[entry["source"]], table_of(paths.fixations(name))
    apart, accepted = source.looks(entry), outside(own, paths.root(entry))
    found = source.read(entry, root)
    items, damaged = found.photographs, []
    if entry.get("on_error") == "skip" and found.pixels is None:
        items, damaged = readable(found.files, items, threads=snakemake.threads, upright=found.upright)
        print(*(f"left out: {text}" for text in damaged), sep="\n", end="\n" if damaged else "")
        if not items:
            raise CamstudyError(f"{root}: none of {len(damaged)} images can be used; the first: {damaged[0]}")
    chosen = select(len(items), entry["n_images"], entry["sample_seed"])
    photographs = [items[position] for position in chosen]
    print(f"{len(found.photographs)} images in {root}, of which {len(photographs)} are prepared")
    start(manifest, listing_of(root.stats))

    def facts() -> dict:
        """Note what was read, before the manifest says that all is done."""
        # Those that an earlier attempt packed were not read in this one.
        note_read(found.files, found.photographs if damaged else photographs)
        if apart:
            # Where people looked has a table of its own, by which maps do not go.
            root.record(own, accepted, only=apart)
        about = {"without": apart, "names_count": source.names_count}
        return {"content": root.record(table_of(manifest), content, **about)}

    attrs = {
        "dataset": name,
        "source": entry["source"],
        "source_records": len(found.photographs),
        "licence": entry["licence"],
        "human_maps": "recorded" if found.density or "human_maps" in source.truths(entry) else None,
        "class_names": found.class_names,
        **({"skipped": len(damaged)} if damaged else {}),
        **({"upright": True} if found.upright else {}),
        **({} if found.sigma is None else {"sigma": found.sigma}),
    }
    about = {"attrs": attrs, "identity": snakemake.params.identity, "facts": facts}
    if found.pixels is None:
        options = {"density": found.density, "threads": snakemake.threads}
        write_photographs(manifest, found.files, photographs, **options, **about)
    else:
        write_pixels(manifest, photographs, found.pixels[chosen], **about)
