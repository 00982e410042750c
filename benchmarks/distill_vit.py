"""Train the demo's vision transformer, whose weights ship: `python -m benchmarks.distill_vit FOLDER`, some 10 minutes.

A transformer of this size with patches of pixels was still at chance after 21,000 close-ups. This one gets its patches
from the first layers of the demo's ResNet, which stay as they are, and learns from labels and from what the ResNet
predicts (Hinton et al. 2015, arXiv 1503.02531, temperature 1). FOLDER gets the weights and a record, to be copied to
config/weights; a run that was killed goes on after its last epoch.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
import yaml
from safetensors.torch import load_file, save_file
from timm.scheduler import CosineLRScheduler
from torch import Tensor, nn
from torch.nn import functional as F

from camstudy.core.provenance import sha256_file, versions, write_json
from camstudy.data.digits import make_scene
from camstudy.models.build import build_model, input_config, parameter_count
from camstudy.models.inputs import prepare

CATALOG = Path(__file__).parents[1] / "config/catalog"
TEACHER, STUDENT = "resnet_mini", "vit_mini"
SPLIT, SCENES, TEST_SCENES = "pretrain", 10_000, 384
RECIPE = {"epochs": 12, "batch_size": 32, "learning_rate": 0.0015, "weight_decay": 0.05, "label_smoothing": 0.05}
PART = 100


def teach(folder: Path) -> dict:
    """Train the student, write its weights to a folder, and return the record that lies beside them."""
    files = [yaml.safe_load((CATALOG / name).read_text()) for name in ("models.yaml", "transformers.yaml")]
    entries = {name: entry for file in files for name, entry in file["catalog"]["models"].items()}
    torch.manual_seed(0)
    student, teacher = build_model(entries[STUDENT]), build_model(entries[TEACHER]).eval()
    weights = load_file(CATALOG.parents[1] / entries[TEACHER]["weights"]["path"])
    teacher.load_state_dict(weights)
    stem = student.patch_embed.backbone.eval().requires_grad_(False)
    stem.load_state_dict({name: weights[name] for name in stem.state_dict()})

    inputs = input_config(entries[STUDENT])
    seen = {
        split: _cached(folder / f"{split}.npz", lambda split=split, n=n: _features(split, n, inputs, stem, teacher))
        for split, n in ((SPLIT, SCENES), ("val", TEST_SCENES))
    }
    history = _train(student, seen[SPLIT], seen["val"], folder / "checkpoint.pt")
    path = folder / f"{STUDENT}.safetensors"
    save_file({name: value.contiguous() for name, value in student.state_dict().items()}, path)
    record = {
        "made_by": "python -m benchmarks.distill_vit",
        "entry": {key: entries[STUDENT][key] for key in ("arch", "kwargs", "num_classes", "input")},
        "teacher": {"model": TEACHER, "sha256": entries[TEACHER]["weights"]["sha256"]},
        "training": {"split": SPLIT, "scenes": SCENES, **RECIPE, **history[-1]},
        "parameters": parameter_count(student),
        "sha256": sha256_file(path),
        "versions": versions("torch", "timm"),
    }
    write_json(folder / f"{STUDENT}.json", record)
    return record


def _features(split: str, n: int, inputs: dict, stem: nn.Module, teacher: nn.Module) -> dict[str, np.ndarray]:
    """Return what the stem makes of scenes, float16 (n, C, h, w), the teacher's logits for them, and labels."""
    found: dict[str, list] = {"stem": [], "logits": [], "labels": []}
    for first in range(0, n, PART):
        scenes = [make_scene(split, index, 0) for index in range(first, min(first + PART, n))]
        images = prepare(np.stack([scene.image for scene in scenes]), inputs)
        with torch.inference_mode():
            found["stem"].append(stem(images).half().numpy())
            found["logits"].append(teacher(images).numpy())
        found["labels"].append([scene.label for scene in scenes])
    return {name: np.concatenate(parts) for name, parts in found.items()}


def _cached(path: Path, make) -> dict[str, Tensor]:
    if not path.exists():
        np.savez(path, **make())
    with np.load(path) as stored:
        return {name: torch.from_numpy(stored[name]) for name in stored.files}


def _train(model: nn.Module, seen: dict[str, Tensor], held: dict[str, Tensor], checkpoint: Path) -> list[dict]:
    """Train all but the stem, in place; return loss and accuracies of each epoch."""
    learning = [each for each in model.parameters() if each.requires_grad]
    groups = [
        {"params": [each for each in learning if each.ndim > 1], "weight_decay": RECIPE["weight_decay"]},
        {"params": [each for each in learning if each.ndim <= 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=RECIPE["learning_rate"])
    n, size = len(seen["labels"]), RECIPE["batch_size"]
    steps = n // size
    schedule = CosineLRScheduler(
        optimizer, t_initial=RECIPE["epochs"] * steps, lr_min=1e-5, warmup_t=60, t_in_epochs=False
    )
    parts, history = {"model": model, "optimizer": optimizer}, []
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        history = state.pop("history")
        for name, part in parts.items():
            part.load_state_dict(state[name])
    for epoch in range(len(history), RECIPE["epochs"]):
        model.train()
        model.patch_embed.backbone.eval()
        order = torch.randperm(n, generator=torch.Generator().manual_seed(epoch))[: steps * size]
        loss, hits = 0.0, 0
        for step, chosen in enumerate(order.split(size)):
            schedule.step_update(epoch * steps + step)
            labels, taught = seen["labels"][chosen], seen["logits"][chosen].softmax(1)
            logits = _answer(model, seen["stem"][chosen])
            own = F.cross_entropy(logits, labels, label_smoothing=RECIPE["label_smoothing"])
            found = own + F.kl_div(logits.log_softmax(1), taught, reduction="batchmean")
            optimizer.zero_grad()
            found.backward()
            nn.utils.clip_grad_norm_(learning, 1.0)
            optimizer.step()
            loss, hits = loss + found.item() / steps, hits + int((logits.argmax(1) == labels).sum())
        accuracy = {"accuracy": hits / (steps * size), "test_accuracy": _accuracy(model, held)}
        history.append({"epoch": epoch + 1, "loss": loss, **accuracy})
        print(history[-1], flush=True)
        state = {name: part.state_dict() for name, part in parts.items()}
        torch.save(state | {"history": history}, checkpoint)
    return history


def _answer(model: nn.Module, features: Tensor) -> Tensor:
    """Return a student's logits for what its stem made of images."""
    tokens = model.patch_embed.proj(features.float()).flatten(2).transpose(1, 2)
    tokens = model.blocks(model.norm_pre(model.patch_drop(model._pos_embed(tokens))))
    return model.forward_head(model.norm(tokens))


def _accuracy(model: nn.Module, held: dict[str, Tensor]) -> float:
    with torch.inference_mode():
        logits = torch.cat([_answer(model.eval(), part) for part in held["stem"].split(PART)])
    return float((logits.argmax(1) == held["labels"]).double().mean())


def main() -> None:
    """Train by the command line's word."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where weights, record and what is between go")
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    print(teach(folder)["training"])


if __name__ == "__main__":
    main()
