"""Killed while training and again while explaining, a study goes on where it was and ends as if undisturbed."""

import re
import shutil
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from conftest import TINY, Project
from killing import run_until

# The first test waits for the whole story, on machines of any speed.
pytestmark = pytest.mark.timeout(3600)

# Chunks of one batch: more moments at which a store is half-written, and the batches of the undisturbed run.
STUDY = {**TINY, "explain": {**TINY["explain"], "chunk_size": TINY["explain"]["batch_size"]}}
CHUNKS = TINY["catalog"]["datasets"]["tiny"]["n_images"] // TINY["explain"]["batch_size"]
EPOCHS = 3


def checkpoints(project):
    """Return the checkpoints of models in training, by model."""
    return {path.parent.name: path for path in project.path.glob("results/models/*/checkpoint.pt")}


def half_trained(project):
    """Return the records of the finished epochs of models that have some, but not all, by model."""
    histories = {model: torch.load(path, weights_only=True)["history"] for model, path in checkpoints(project).items()}
    return {model: history for model, history in histories.items() if len(history) < EPOCHS}


def half_written(project):
    """Return when each chunk was written, for stores of models that have some of their chunks: times by store."""
    found = {}
    for store in project.path.glob("results/heatmaps/tiny/tiny_*/*.zarr"):
        # The flag of a chunk comes after the chunk.
        done = sorted(path.name for path in store.glob("progress/written/c.[0-9]"))
        if 0 < len(done) < CHUNKS:
            parts = [store / part for name in done for part in (f"heatmap/{name}.0.0", f"target/{name}")]
            found[store] = {path: path.stat().st_mtime_ns for path in parts}
    return found


@pytest.fixture(scope="module")
def story(tmp_path_factory):
    """What was on the disk after each of two kills, and the project at the end."""
    project = Project(tmp_path_factory.mktemp("killed"))
    project.write_study(STUDY)
    # Either blow may come late, where this process gets less time than the study: then it is tried again.
    while not (trained := half_trained(project)):
        shutil.rmtree(project.path / "results/models", ignore_errors=True)
        run_until(project, lambda: checkpoints(project))
        # After a hard kill, Snakemake wants to be told that no other instance is at work.
        project.run("--unlock")
    while not (chunks := half_written(project)):
        if run_until(project, lambda: half_written(project), may_end=True):
            shutil.rmtree(project.path / "results/heatmaps")
        project.run("--unlock")
    # Whose record is there, which comes last; another one may have been about to be written.
    finished = [path.parent for path in project.path.glob("results/models/*/model.run.json")]
    models = {path: path.stat().st_mtime_ns for folder in finished for path in folder.glob("model.*")}
    project.run()
    return SimpleNamespace(project=project, trained=trained, chunks=chunks, models=models)


def read_history(project, model):
    return pd.read_csv(project.path / f"results/models/{model}/history.csv")


def test_training_goes_on_after_the_last_finished_epoch(story, finished):
    for model, before in story.trained.items():
        history = read_history(story.project, model)
        assert history["epoch"].tolist() == list(range(1, EPOCHS + 1))
        # Durations too: these epochs were not run again.
        assert history.iloc[: len(before)].to_dict("records") == before
        log = (story.project.path / f"results/logs/train/{model}.log").read_text()
        # Of later ones, or none, if the second kill has met the training of the other model.
        assert all(int(epoch) > len(before) for epoch in re.findall(rf"epoch (\d+)/{EPOCHS}", log))
        assert history["loss"].tolist() == read_history(finished, model)["loss"].tolist()


def test_explaining_keeps_finished_chunks(story):
    for store, written in story.chunks.items():
        assert store.with_suffix(".json").exists()
        assert {path: path.stat().st_mtime_ns for path in written} == written
        chunks = {path: path.stat().st_mtime_ns for path in store.glob("heatmap/c.*.0.0")}
        assert len(chunks) == CHUNKS
        assert all(time > max(written.values()) for path, time in chunks.items() if path not in written)


def test_finished_models_are_not_trained_again(story):
    assert len(story.models) >= 2, "the maps were of a finished model"
    assert {path: path.stat().st_mtime_ns for path in story.models} == story.models


def test_table_is_that_of_an_undisturbed_run(story, finished):
    table = "results/studies/tiny/tables/dcls.csv"
    assert (story.project.path / table).read_bytes() == (finished.path / table).read_bytes()


def test_nothing_is_left_to_do(story):
    assert "Nothing to be done" in story.project.run("--dry-run").stdout
