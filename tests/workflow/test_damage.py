"""Damage that stops nothing: every kind of stored file deleted, cut, flipped, exchanged; noticed, named and healed."""

import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from camstudy.pipeline.verifying import damages

MAPS = "results/heatmaps/tiny/{}/gradcam"
OTHER = {"tiny_resnet": "tiny_resnet_dcls", "human_map": "human_half"}
# By kind: a record, a file that lies beside it, and another valid file of the kind.
STORES = {
    "results/data/tiny": ("image", "pixels", "label", "human_map", "human_half", "class_name", "box", "mask"),
    MAPS.format("tiny_resnet"): ("heatmap", "target", "image", "label", "y", "x"),
}
BESIDE = {
    "results/models/tiny_resnet/model.json": "results/models/tiny_resnet/model.safetensors",
    "results/raw/tiny/0.json": "results/raw/tiny/0.tfrecord",
    "results/scores/tiny/tiny_resnet/prediction.json": "results/scores/tiny/tiny_resnet/prediction.parquet",
    "results/scores/tiny/tiny_resnet/gradcam/human_maps.json": (
        "results/scores/tiny/tiny_resnet/gradcam/human_maps.parquet"
    ),
    "results/studies/tiny/scores.json": "results/studies/tiny/scores.parquet",
    "results/studies/tiny/comparisons.json": "results/studies/tiny/comparisons.parquet",
    "results/studies/tiny/tables/dcls.run.json": "results/studies/tiny/tables/dcls.csv",
    "results/studies/tiny/figures/alignment.run.json": "results/studies/tiny/figures/alignment.png",
}
SWAPS = {
    "results/raw/tiny/0.tfrecord": "results/raw/tiny_train/0.tfrecord",
    "results/studies/tiny/scores.parquet": "results/studies/tiny/comparisons.parquet",
    "results/studies/tiny/comparisons.parquet": "results/studies/tiny/scores.parquet",
    "results/studies/tiny/tables/dcls.csv": "results/studies/tiny/tables/dcls.md",
    "results/studies/tiny/figures/alignment.png": "results/studies/tiny/figures/accuracy_alignment.png",
}
RECORDS = (
    *BESIDE,
    *(f"{store}.json" for store in STORES),
    "results/scores/tiny/human_ceiling.json",
    "results/models/tiny_resnet/check.json",
)


def files(project):
    """Yield (record, file, another valid file) of each kind."""
    for record, file in BESIDE.items():
        yield record, file, SWAPS.get(file, file.replace("tiny_resnet", "tiny_resnet_dcls"))
    for store, arrays in STORES.items():
        names = [f"{name}/zarr.json" for name in arrays] + ["zarr.json", "progress/files.json"]
        for name in arrays:
            chunks = sorted(path.name for path in (project.path / f"{store}.zarr/{name}").glob("c.*"))
            assert chunks, (store, name)
            names.append(f"{name}/{chunks[-1]}")
        other = "results/data/tiny_train" if "data" in store else MAPS.format("tiny_resnet_dcls")
        for name in names:
            yield f"{store}.json", f"{store}.zarr/{name}", f"{other}.zarr/{name}"
    for record in RECORDS:
        yield record, record, record.replace("tiny_resnet", "tiny_resnet_dcls").replace("raw/tiny/", "raw/tiny_train/")


def broken(content, other):
    """Yield what damage makes of a file's content."""
    chosen = random.Random(0)
    yield "cut", content[: len(content) // 2]
    yield "emptied", b""
    for _ in range(3):
        position = chosen.randrange(len(content))
        yield f"flipped at {position}", content[:position] + bytes([content[position] ^ 0x10]) + content[position + 1 :]
    if other is not None and other != content:
        yield "exchanged", other


def test_all_damage_is_noticed_and_named(copied, monkeypatch):
    monkeypatch.chdir(copied.path)
    missed, cases = [], 0
    for record, file, other in files(copied):
        path, content = Path(file), Path(file).read_bytes()
        # The dataset that is trained on has no halves of its maps.
        exchanged = Path(other).read_bytes() if other != file and Path(other).exists() else None
        for what, damaged in [*broken(content, exchanged), ("deleted", None)]:
            if damaged is None and file == record:
                continue  # for Snakemake, it is not made yet
            if damaged is None:
                path.unlink()
            else:
                path.write_bytes(damaged)
            found = [str(error) for error in damages([record])]
            cases += 1
            # A JSON file whose spaces have changed says the same.
            same = damaged is not None and file.endswith(".json") and damaged.split() == content.split()
            if not same and not any(file.partition(".zarr")[0] in text for text in found):
                missed.append((file, what, found))
            path.write_bytes(content)
    assert not missed, f"{len(missed)} of {cases}: {missed[:5]}"
    assert cases > 150
    assert list(damages([*RECORDS])) == []


def camstudy(project, *arguments):
    command = [sys.executable, "-m", "camstudy.cli", *arguments]
    return subprocess.run(command, cwd=project.path, env=project.environment, capture_output=True, text=True)


def content_of(folder, *patterns):
    found = {path.relative_to(folder): path for pattern in patterns for path in folder.glob(pattern) if path.is_file()}
    return {str(name): path.read_bytes() for name, path in found.items()}


RESULTS = (
    "studies/tiny/tables/*.csv",
    "studies/tiny/*.parquet",
    "heatmaps/**/c.*",
    "data/**/c.*",
    "scores/**/*.parquet",
)


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)


def test_what_verify_finds_the_next_run_mends(copied, finished):
    results = copied.path / "results"
    chunks = sorted((results / "heatmaps/tiny/tiny_resnet/gradcam.zarr/heatmap").glob("c.*"))
    flip(chunks[0])
    shutil.copy(chunks[0], chunks[1])
    (results / "heatmaps/tiny/tiny_resnet/threshold_gradcam.zarr/heatmap/zarr.json").write_text("{}")
    flip(results / "data/tiny.zarr/human_map/c.0.0.0")
    flip(results / "models/tiny_resnet_dcls/model.safetensors")
    flip(results / "scores/tiny/tiny_resnet/prediction.parquet")
    flip(results / "studies/tiny/comparisons.parquet")
    flip(results / "studies/tiny/tables/dcls.csv")
    (results / "studies/tiny/tables/dcls.md").write_text("")
    (results / "protocols/human_maps.json").write_text("{")
    (results / "raw/tiny/0.tfrecord").unlink()
    (results / "raw/tiny/0.tfrecord").symlink_to("nowhere")
    (results / "scores/tiny/human_ceiling.json").write_text('{"human_ceiling": ')
    done = camstudy(copied, "verify", "study.yaml")
    assert done.returncode == 1, done.stderr
    named = ("gradcam.zarr: chunk c.0.0.0", "gradcam.zarr: chunk c.1.0.0", "array `heatmap`", "array `human_map`")
    named += ("model.safetensors", "prediction.parquet", "studies/tiny/comparisons.parquet", "human_ceiling.json")
    named += ("dcls.csv", "dcls.md", "0.tfrecord")
    assert [name for name in named if name not in done.stderr] == []
    assert "Traceback" not in done.stderr
    copied.run()
    assert content_of(results, *RESULTS) == content_of(finished.path / "results", *RESULTS)
    done = camstudy(copied, "verify", "study.yaml")
    assert done.returncode == 0, done.stderr
    assert "are as they were written" in done.stdout


@pytest.mark.parametrize("file", ["heatmaps/tiny/tiny_resnet/gradcam.zarr/heatmap/c.1.0.0"])
def test_a_job_that_meets_damage_names_it_and_the_next_run_mends_it(copied, finished, file):
    results = copied.path / "results"
    flip(results / file)
    for name in ("gradcam/human_maps.json", "gradcam/human_maps.parquet"):
        (results / "scores/tiny/tiny_resnet" / name).unlink()
    target = "results/scores/tiny/tiny_resnet/gradcam/human_maps.json"
    done = copied.run(target, check=False)
    assert done.returncode == 1
    text = (
        "error: results/heatmaps/tiny/tiny_resnet/gradcam.zarr: chunk c.1.0.0 of array `heatmap` is damaged; it was set"
    )
    assert text in done.stderr + done.stdout
    # Links to nothing, which Snakemake alone would take for files that vanish while it looks.
    links = [results / "studies/tiny/tables/dcls.csv", results / "scores/tiny/tiny_resnet/prediction.json"]
    for link in links:
        link.unlink()
        link.symlink_to("nowhere")
    done = copied.run()
    assert "dcls.csv: a link to nowhere, which is not there; it counts as missing" in done.stderr + done.stdout
    assert not any(link.is_symlink() for link in links)
    assert content_of(results, *RESULTS) == content_of(finished.path / "results", *RESULTS)
