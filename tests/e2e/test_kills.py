"""Forty kills at any moments: five studies end as if undisturbed, and nothing that was finished is done again."""

import base64
import random
import time

import pytest
from conftest import RESNET, TINY, Project
from killing import run_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

KILLS = 8
# Chunks of one batch: more moments at which a store is half-written.
BASE = {**TINY, "explain": {**TINY["explain"], "chunk_size": TINY["explain"]["batch_size"]}}
TRAIN = RESNET["train"]
DATA = TINY["catalog"]["datasets"]
QUICK = {"quick": {"family": "faithfulness", "step": 12544}, "brief": {"family": "sanity", "n_images": 3, "steps": 2}}

# What is no result: notes of runs, and what is there while one is made.
BESIDE = ("logs", "benchmarks", "speed.json", ".owner", "checkpoint.pt")


def study(models, *, datasets=None, **keys):
    """Return a study of these models, with keys of its own."""
    catalog = {"datasets": DATA | (datasets or {}), "models": models, "protocols": QUICK}
    return BASE | {"models": list(models), "figures": []} | keys | {"catalog": catalog}


def pair(name, changes):
    """Return a plain network and another, and their comparison."""
    models = {"plain": RESNET | {"title": "Plain"}, name: RESNET | {"title": name.title()} | changes}
    return models, [{"baseline": "plain", "variant": name}]


STREAMS, STREAM = pair(
    "stream",
    {
        "weights": {"model": "plain"},
        "variant": {"castream": {}},
        "train": TRAIN | {"trainable": ["stream"], "hold_out": 0.25, "select": "best"},
    },
)
GUIDANCE, GUIDED = pair("guided", {"train": TRAIN | {"terms": {"gradient_guidance": {"weight": 1, "error": "cosine"}}}})
STUDIES = {
    "dcls": BASE,
    "methods": study(
        {"plain": RESNET | {"title": "Plain"}},
        comparisons=[],
        methods=["gradcam", "guided_backprop"],
        controls=["center_bias"],
        protocols=["quick", "brief"],
        tables=["faithfulness"],
        figures=["method_grid"],
    ),
    "streams": study(
        STREAMS,
        comparisons=STREAM,
        methods=["gradcam", "raw_attention"],
        controls=[],
        protocols=["quick"],
        tables=["faithfulness"],
    ),
    "gaze": study(
        TINY["catalog"]["models"],
        datasets={"tiny": DATA["tiny"] | {"fixations": True}},
        controls=["human_observers", "gaze_center_bias"],
        protocols=["gaze"],
        tables=["gaze"],
        figures=["gaze"],
    ),
    "gradients": study(
        GUIDANCE,
        comparisons=GUIDED,
        seeds=[0, 1],
        methods=["gradcam"],
        controls=[],
        protocols=["gradients"],
        tables=["recognition"],
    ),
}


def begun(project):
    """Return the outputs, without endings, of jobs that a kill has met."""
    names = (path.name for path in (project.path / ".snakemake/incomplete").glob("*"))
    return {base64.urlsafe_b64decode(name).decode().rsplit(".", 1)[0] for name in names}


def done(project):
    """Return the times of all results that are finished: of files of finished jobs, and of flagged chunks of stores."""
    results, met = project.path / "results", begun(project)
    times = {}
    for path in results.rglob("*"):
        name = path.relative_to(project.path)
        if not path.is_file() or name.parts[1] in BESIDE or name.name in BESIDE or name.suffix == ".tmp":
            continue
        store = next((folder for folder in path.parents if folder.suffix == ".zarr"), None)
        whole = store.relative_to(project.path) if store else name
        if any(str(whole).startswith(f"{output}.") for output in met):
            # Of a half-written store, those that it says are written.
            if not (store and path.name.startswith("c.") and path.parent.parent == store):
                continue
            if not (store / f"progress/written/c.{path.name.split('.')[1]}").exists():
                continue
        times[str(name)] = path.stat().st_mtime_ns
    return times


def tables(project):
    """Return the contents of the study's tables by file name."""
    return {path.name: path.read_bytes() for path in project.path.glob("results/studies/*/tables/*.csv")}


def seconds(project, *options):
    """Return how long the study takes."""
    started = time.monotonic()
    project.run(*options)
    return time.monotonic() - started


@pytest.mark.parametrize("name", STUDIES)
def test_killed_at_any_moments_it_ends_as_if_undisturbed(tmp_path_factory, capsys, name):
    undisturbed, project = (Project(tmp_path_factory.mktemp(name)) for _ in range(2))
    for each in (undisturbed, project):
        each.cold = True
        each.write_study(STUDIES[name])
    planning, whole = (seconds(undisturbed, *options) for options in (["--dry-run"], []))
    rng, kills, finished = random.Random(name), 0, {}
    for _ in range(KILLS):
        # From before the first job starts to several later.
        moment = time.monotonic() + planning + rng.uniform(0, 1.5 * (whole - planning) / KILLS)
        if run_until(project, lambda moment=moment: time.monotonic() > moment, may_end=True):
            break
        project.run("--unlock")
        kills += 1
        now = done(project)
        assert {file for file, when in finished.items() if now.get(file) != when} == set()
        finished = now
    assert kills, "it ended before the first"
    assert finished, "a kill came after a job"
    project.run()
    now = done(project)
    assert {file for file, when in finished.items() if now.get(file) != when} == set()
    assert tables(project) == tables(undisturbed)
    assert tables(project)
    with capsys.disabled():
        print(f"\n{name}: {kills} kills, {len(finished)} files finished at the last")
