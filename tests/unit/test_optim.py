"""Parameter groups and the schedule: who decays, who learns five times faster, at every step."""

import math

import pytest
import torch
from timm.models.convnext import ConvNeXt
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from camstudy.models.variants import dcls
from camstudy.training.optim import make_optimizer, make_schedule, parameter_groups

torch.set_num_threads(1)

RECIPE = {
    "epochs": 4,
    "optimizer": "adamw",
    "learning_rate": 0.01,
    "min_learning_rate": 0.0002,
    "warmup_epochs": 1.5,
    "weight_decay": 0.1,
    "momentum": 0.9,
    "nesterov": True,
    "drops": None,
    "decay_all": False,
    "positions": {"learning_rate_factor": 5},
}
STEPS = 6


def convnext() -> nn.Module:
    torch.manual_seed(0)
    return ConvNeXt(num_classes=5, depths=(1, 1, 2, 1), dims=(8, 12, 16, 20))


def with_dcls(version="v1") -> nn.Module:
    return dcls.convert(convnext(), replace="depthwise", kernel_size=9, kernel_count=5, version=version, init="random")


def group_of(optimizer, parameter):
    (group,) = [g for g in optimizer.param_groups if any(p is parameter for p in g["params"])]
    return group


@pytest.mark.parametrize("version", ["v1", "gauss"])
def test_every_parameter_has_its_group(version):
    model = with_dcls(version)
    optimizer = make_optimizer(model, RECIPE)
    tensors = [p for group in optimizer.param_groups for p in group["params"]]
    assert len({id(p) for p in tensors}) == len(tensors)
    assert {id(p) for p in tensors} == {id(p) for p in model.parameters()}
    for name, parameter in model.named_parameters():
        group = group_of(optimizer, parameter)
        is_position = name.endswith((".P", ".SIG"))
        is_vector = not is_position and parameter.ndim <= 1
        assert group["weight_decay"] == (0 if is_position or is_vector else 0.1), name
        assert group.get("lr_scale", 1) == (5 if is_position else 1), name


def test_a_shared_position_tensor_is_there_once():
    model = with_dcls()
    layers = list(dcls.dcls_layers(model))
    assert len(layers) == 5
    (positions,) = [g["params"] for g in parameter_groups(model, 0.1, 5) if "lr_scale" in g]
    assert len(positions) == 4
    assert {id(p) for p in positions} == {id(layer.P) for layer in layers}


def test_a_model_without_dcls_has_no_third_group():
    groups = parameter_groups(convnext(), 0.1, 5)
    assert [group["weight_decay"] for group in groups] == [0.1, 0]


def test_frozen_parameters_are_left_out():
    model = convnext()
    model.stem.requires_grad_(False)
    tensors = {id(p) for group in parameter_groups(model, 0.1, 5) for p in group["params"]}
    assert tensors == {id(p) for name, p in model.named_parameters() if not name.startswith("stem")}


class Exempting(nn.Module):
    """A transformer's parameters that do not decay, named as in timm, and some that do."""

    def __init__(self, names) -> None:
        super().__init__()
        self.pos_embed, self.cls_token = nn.Parameter(torch.zeros(1, 4, 2)), nn.Parameter(torch.zeros(1, 1, 2))
        self.block = nn.ModuleDict({"rel_pos": nn.Linear(2, 3), "proj": nn.Linear(2, 3)})
        self.names = names

    def no_weight_decay(self):
        return self.names


@pytest.mark.parametrize(
    ("names", "kept"),
    [
        ({"pos_embed", "cls_token"}, {"pos_embed", "cls_token"}),
        (["block.rel_pos.*"], {"block.rel_pos.weight"}),
        ({}, set()),
        ({"proj.weight", "absent"}, set()),
    ],
)
def test_what_a_model_exempts_does_not_decay(names, kept):
    model = Exempting(names)
    optimizer = make_optimizer(model, RECIPE)
    weights = {name: p for name, p in model.named_parameters() if not name.endswith("bias")}
    assert {name for name, p in weights.items() if group_of(optimizer, p)["weight_decay"] == 0} == kept
    assert {id(p) for group in optimizer.param_groups for p in group["params"]} == {id(p) for p in model.parameters()}


def test_a_vision_transformer_of_timm_keeps_its_embeddings():
    model = VisionTransformer(img_size=32, patch_size=16, embed_dim=8, depth=1, num_heads=2, num_classes=3)
    optimizer = make_optimizer(model, RECIPE)
    assert group_of(optimizer, model.pos_embed)["weight_decay"] == 0
    assert group_of(optimizer, model.cls_token)["weight_decay"] == 0
    assert group_of(optimizer, model.patch_embed.proj.weight)["weight_decay"] == 0.1


def scheduled(step: int, warmup: int) -> float:
    """Return the learning rate of a step: linear to the highest, then the cosine over all steps."""
    low, high, total = RECIPE["min_learning_rate"], RECIPE["learning_rate"], RECIPE["epochs"] * STEPS
    if step < warmup:
        return low + (high - low) * step / warmup
    return low + (high - low) * (1 + math.cos(math.pi * step / total)) / 2


@pytest.mark.parametrize("optimizer_name", ["adamw", "sgd"])
@pytest.mark.parametrize(("warmup_epochs", "factor"), [(1.5, 5), (0, 5), (1.5, 2.5)])
def test_learning_rates_at_every_step(optimizer_name, warmup_epochs, factor):
    recipe = RECIPE | {
        "optimizer": optimizer_name,
        "warmup_epochs": warmup_epochs,
        "positions": {"learning_rate_factor": factor},
    }
    optimizer = make_optimizer(with_dcls(), recipe)
    schedule = make_schedule(optimizer, recipe, STEPS)
    for step in range(RECIPE["epochs"] * STEPS + 1):
        if step:
            schedule.step_update(step)
        expected = scheduled(step, round(warmup_epochs * STEPS))
        for group in optimizer.param_groups:
            assert group["lr"] == pytest.approx(expected * group.get("lr_scale", 1), rel=1e-9), step
    assert [group.get("lr_scale", 1) for group in optimizer.param_groups] == [1, 1, factor]
    assert expected == pytest.approx(RECIPE["min_learning_rate"])


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_a_warm_up_that_rounds_to_all_steps_leaves_one(steps):
    recipe = RECIPE | {"epochs": 1, "warmup_epochs": 0.95}
    optimizer = make_optimizer(convnext(), recipe)
    schedule = make_schedule(optimizer, recipe, steps)
    schedule.step_update(steps - 1)
    assert optimizer.param_groups[0]["lr"] >= 0.25 * RECIPE["learning_rate"]
    schedule.step_update(steps)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(RECIPE["min_learning_rate"])


def test_decay_shrinks_weights_and_leaves_vectors_and_positions():
    model = with_dcls()
    optimizer = make_optimizer(model, RECIPE)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for name, parameter in model.named_parameters():
        kept = parameter.ndim <= 1 or name.endswith(".P")
        torch.testing.assert_close(parameter.detach(), before[name] * (1 if kept else 1 - 0.01 * 0.1))


@pytest.mark.parametrize("momentum", [0.8, 0])
def test_sgd_has_nesterov_momentum(momentum):
    """Two steps with a gradient of 1: Nesterov's first is 1 + m times the rate, his second 1 + m + m^2 times."""
    model = nn.Linear(1, 1, bias=False)
    optimizer = make_optimizer(model, RECIPE | {"optimizer": "sgd", "momentum": momentum, "weight_decay": 0})
    start = model.weight.item()
    for expected in (1 + momentum, 2 + 2 * momentum + momentum**2):
        model.weight.grad = torch.ones(1, 1)
        optimizer.step()
        assert start - model.weight.item() == pytest.approx(0.01 * expected, rel=1e-4)


def test_sgd_has_the_usual_momentum_where_it_is_wanted():
    """Two steps with a gradient of 1: the first is 1 times the rate, the second 1 + m times."""
    model = nn.Linear(1, 1, bias=False)
    optimizer = make_optimizer(model, RECIPE | {"optimizer": "sgd", "nesterov": False, "weight_decay": 0})
    start = model.weight.item()
    for expected in (1, 2.9):
        model.weight.grad = torch.ones(1, 1)
        optimizer.step()
        assert start - model.weight.item() == pytest.approx(0.01 * expected, rel=1e-4)


def test_all_decay_but_positions_where_it_is_wanted():
    model = with_dcls()
    optimizer = make_optimizer(model, RECIPE | {"decay_all": True})
    for name, parameter in model.named_parameters():
        assert group_of(optimizer, parameter)["weight_decay"] == (0 if name.endswith(".P") else 0.1), name


@pytest.mark.parametrize("warmup_epochs", [0, 0.5])
def test_learning_rates_drop_in_steps(warmup_epochs):
    recipe = RECIPE | {"epochs": 7, "warmup_epochs": warmup_epochs, "drops": {"epochs": 3, "factor": 0.1}}
    optimizer = make_optimizer(with_dcls(), recipe)
    schedule = make_schedule(optimizer, recipe, STEPS)
    warmup, low, high = warmup_epochs * STEPS, recipe["min_learning_rate"], recipe["learning_rate"]
    for step in range(7 * STEPS + 1):
        if step:
            schedule.step_update(step)
        rate = low + (high - low) * step / warmup if step < warmup else high * 0.1 ** (step // (3 * STEPS))
        for group in optimizer.param_groups:
            assert group["lr"] == pytest.approx(rate * group.get("lr_scale", 1), rel=1e-9), step


def test_adamw_by_default():
    optimizer = make_optimizer(convnext(), RECIPE)
    assert type(optimizer) is torch.optim.AdamW
    assert {group["lr"] for group in optimizer.param_groups} == {0.01}


@pytest.mark.parametrize("epochs", [[1, 4, 5], [4, 5, 1], 2])
def test_drops_come_after_the_epochs_that_are_listed(epochs):
    """As torch's MultiStepLR has them, epoch by epoch."""
    recipe = RECIPE | {"epochs": 7, "warmup_epochs": 0, "optimizer": "sgd", "drops": {"epochs": epochs, "factor": 0.2}}
    ours = make_optimizer(nn.Linear(2, 2), recipe)
    schedule = make_schedule(ours, recipe, STEPS)
    theirs = torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=recipe["learning_rate"])
    milestones = sorted(epochs) if isinstance(epochs, list) else [2, 4, 6]
    reference = torch.optim.lr_scheduler.MultiStepLR(theirs, milestones, gamma=0.2)
    for epoch in range(7):
        for step in range(STEPS):
            assert ours.param_groups[0]["lr"] == pytest.approx(theirs.param_groups[0]["lr"])
            schedule.step_update(epoch * STEPS + step + 1)
        theirs.step()
        reference.step()
