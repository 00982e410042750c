"""The training loop: it learns, an interrupted run ends as an undisturbed one, positions stay where they belong."""

import zipfile
from pathlib import Path

import pytest
import torch
from stores import CLASSES, INPUT, squares, write_store
from torch import nn
from torch.optim.swa_utils import AveragedModel

from camstudy.core.errors import CamstudyError
from camstudy.data.dataset import Dataset
from camstudy.models.load import draw_fan_in
from camstudy.models.variants import dcls
from camstudy.training.data import TrainingLoader
from camstudy.training.distributed import Group
from camstudy.training.loop import train

torch.set_num_threads(1)

N, KERNEL = 48, 5
BORDER = KERNEL // 2
CPU = torch.device("cpu")
RECIPE = {
    "epochs": 3,
    "batch_size": 10,
    "accumulate": 1,
    "optimizer": "adamw",
    "learning_rate": 0.01,
    "min_learning_rate": 0.0001,
    "warmup_epochs": 1,
    "weight_decay": 0.05,
    "momentum": 0.9,
    "trainable": None,
    "drops": None,
    "decay_all": False,
    "nesterov": True,
    "hold_out": 0,
    "select": "last",
    "label_smoothing": 0.1,
    "ema_decay": None,
    "clip_grad_norm": None,
    "backward": "plain",
    "divergence": "error",
    "log_gradient_norm": False,
    "precision": "float32",
    "augment": {"scale": [0.8, 1.0], "flip": 0.5, "color_jitter": 0.1, "erase": 0.1},
    "positions": {"learning_rate_factor": 5, "repulsive_loss": False, "repulsive_from_epoch": 21},
}
STEPS = RECIPE["epochs"] * (N // RECIPE["batch_size"])
REPULSIVE = RECIPE["positions"] | {"repulsive_loss": True, "repulsive_from_epoch": 1}


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Dataset:
    return write_store(tmp_path_factory.mktemp("data") / "squares.json", *squares(N))


def network(variant: bool = True, plain: bool = False) -> nn.Module:
    """Return a small network with norms and dropout and, as a variant, two DCLS layers that share positions.

    A ``plain`` one has neither norms nor dropout: its outputs do not depend on what is in a batch.
    """
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1, groups=8),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1, groups=8),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(8, CLASSES),
    )
    if plain:
        model = nn.Sequential(*(m for m in model if not isinstance(m, nn.BatchNorm2d | nn.Dropout)))
        draw_fan_in(model)
    if not variant:
        return model
    return dcls.convert(model, replace="depthwise", kernel_size=KERNEL, kernel_count=9, version="v1", init="preserve")


class Loader(TrainingLoader):
    """A loader that counts its epochs, and fails after the first batch of epoch ``stop``."""

    def __init__(self, *arguments, stop: int | None = None) -> None:
        super().__init__(*arguments)
        self.stop, self.epochs = stop, []

    def epoch(self, number):
        self.epochs.append(number)
        for batch in super().epoch(number):
            yield batch
            if number == self.stop:
                raise KeyboardInterrupt


def run(store, checkpoint: Path, *, recipe=RECIPE, model=None, loader=None, seed=0, fingerprint="f"):
    loader = loader or TrainingLoader(store, recipe, INPUT, seed)
    model = model or network()
    return train(model, loader, recipe, seed=seed, device=CPU, checkpoint=checkpoint, fingerprint=fingerprint)


def timeless(history: list[dict]) -> list[dict]:
    return [{k: v for k, v in r.items() if k not in ("seconds", "images_per_second")} for r in history]


def states_equal(first: nn.Module, second: nn.Module) -> bool:
    first, second = first.state_dict(), second.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def assert_same_run(first, second):
    assert states_equal(first[0], second[0])
    assert timeless(first[1]) == timeless(second[1])


@pytest.fixture
def watched(monkeypatch) -> list[dict]:
    """Collect, after every step, the tensors of the model and the positions of its average."""
    steps, update = [], AveragedModel.update_parameters

    def watch(self, model):
        update(self, model)
        steps.append(
            {
                "model": {name: tensor.clone() for name, tensor in model.state_dict().items()},
                "average": [p.detach().clone() for p in dcls.position_parameters(self.module)],
            }
        )

    monkeypatch.setattr(AveragedModel, "update_parameters", watch)
    return steps


def test_learns_a_learnable_task(store, tmp_path):
    recipe = RECIPE | {"epochs": 12, "learning_rate": 0.03}
    model, history = run(store, tmp_path / "c.pt", recipe=recipe, model=network(variant=False))
    assert history[-1]["loss"] < 0.7 * history[0]["loss"]
    assert history[-1]["accuracy"] > 0.8
    assert not model.training
    images, labels = squares(30, seed=5)
    mean, std = torch.tensor(INPUT["mean"]), torch.tensor(INPUT["std"])
    inputs = ((torch.from_numpy(images) / 255 - mean) / std).permute(0, 3, 1, 2)
    with torch.no_grad():
        assert (model(inputs).argmax(1).numpy() == labels).mean() > 0.8


def test_history_has_a_record_per_epoch(store, tmp_path):
    _, history = run(store, tmp_path / "c.pt")
    assert [record["epoch"] for record in history] == [1, 2, 3]
    for record in history:
        assert record["loss"] > 0
        assert 0 <= record["accuracy"] <= 1
        assert record["seconds"] >= 0
        assert record["images_per_second"] > 0
    rates = [record["learning_rate"] for record in history]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] == pytest.approx(RECIPE["min_learning_rate"])


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"ema_decay": 0.8},
        {"optimizer": "sgd", "clip_grad_norm": 1.0},
        {"ema_decay": 0.8, "optimizer": "sgd", "positions": REPULSIVE},
        {"ema_decay": 0.8, "accumulate": 5, "positions": REPULSIVE},
    ],
    ids=["adamw", "ema", "sgd", "ema and sgd", "accumulate"],
)
@pytest.mark.parametrize("stop", [0, 1, 2])
def test_a_resumed_run_equals_an_undisturbed_one(store, tmp_path, changes, stop):
    recipe = RECIPE | changes
    undisturbed = run(store, tmp_path / "undisturbed.pt", recipe=recipe)
    checkpoint = tmp_path / "interrupted.pt"
    with pytest.raises(KeyboardInterrupt):
        run(store, checkpoint, recipe=recipe, loader=Loader(store, recipe, INPUT, 0, stop=stop))
    assert checkpoint.exists() == (stop > 0)
    torch.manual_seed(77)
    loader = Loader(store, recipe, INPUT, 0)
    resumed = run(store, checkpoint, recipe=recipe, loader=loader)
    assert loader.epochs == list(range(stop, 3))
    assert_same_run(resumed, undisturbed)
    assert [p.name for p in tmp_path.iterdir() if p.name.endswith(".tmp")] == []


def test_a_finished_run_is_only_read(store, tmp_path):
    recipe = RECIPE | {"ema_decay": 0.8}
    done = run(store, tmp_path / "c.pt", recipe=recipe)
    loader = Loader(store, recipe, INPUT, 0)
    assert_same_run(run(store, tmp_path / "c.pt", recipe=recipe, loader=loader), done)
    assert loader.epochs == []


def test_shared_positions_stay_shared_when_resumed(store, tmp_path):
    recipe = RECIPE | {"ema_decay": 0.8}
    with pytest.raises(KeyboardInterrupt):
        run(store, tmp_path / "c.pt", recipe=recipe, loader=Loader(store, recipe, INPUT, 0, stop=1))
    model = network()
    average, _ = run(store, tmp_path / "c.pt", recipe=recipe, model=model)
    for network_ in (model, average):
        first, second = dcls.dcls_layers(network_)
        assert first.P is second.P


def test_another_training_starts_anew(store, tmp_path):
    run(store, tmp_path / "c.pt", fingerprint="another", seed=3)
    loader = Loader(store, RECIPE, INPUT, 0)
    found = run(store, tmp_path / "c.pt", loader=loader)
    assert loader.epochs == [0, 1, 2]
    assert_same_run(found, run(store, tmp_path / "fresh.pt"))


def write_text(path):
    path.write_text("epoch,loss\n1,0.5\n")


def write_nothing(path):
    path.write_bytes(b"")


def write_half(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def write_weights(path):
    torch.save(network().state_dict(), path)


def write_tensor(path):
    torch.save(torch.zeros(3), path)


def write_module(path):
    torch.save(nn.Linear(2, 2), path)


def write_archive(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("history.csv", "epoch,loss")


@pytest.mark.parametrize(
    "write", [write_text, write_nothing, write_half, write_weights, write_tensor, write_module, write_archive]
)
def test_a_file_that_is_no_checkpoint_is_refused_and_kept(store, tmp_path, write):
    path = tmp_path / "checkpoint.pt"
    run(store, path)
    write(path)
    content = path.read_bytes()
    with pytest.raises(CamstudyError, match=r"checkpoint\.pt: not a checkpoint .* delete it, then run again"):
        run(store, path)
    assert path.read_bytes() == content


def test_the_same_seed_gives_the_same_run_whatever_ran_before(store, tmp_path):
    first = run(store, tmp_path / "first.pt")
    torch.manual_seed(123)
    torch.rand(7)
    assert_same_run(run(store, tmp_path / "second.pt"), first)
    other = run(store, tmp_path / "third.pt", seed=1)
    assert not states_equal(other[0], first[0])


def test_mixed_precision_is_for_gpus(store, tmp_path):
    first = run(store, tmp_path / "float32.pt")
    for precision in ("bfloat16", "float16"):
        assert_same_run(run(store, tmp_path / f"{precision}.pt", recipe=RECIPE | {"precision": precision}), first)


def test_positions_are_within_the_kernel_after_every_step_and_so_is_their_average(store, tmp_path, watched):
    positions = RECIPE["positions"] | {"learning_rate_factor": 100}
    run(store, tmp_path / "c.pt", recipe=RECIPE | {"ema_decay": 0.5, "positions": positions})
    assert len(watched) == STEPS
    reached = torch.stack([step["model"]["3.P"].abs().max() for step in watched])
    assert reached.max() == BORDER, "no position was pushed outwards: nothing to clamp"
    assert max(p.abs().max() for step in watched for p in step["average"]) <= BORDER


def test_the_average_follows_its_formula_shared_positions_once_a_step(store, tmp_path, watched):
    decay = 0.7
    model = network()
    average, _ = run(store, tmp_path / "c.pt", recipe=RECIPE | {"ema_decay": decay}, model=model)
    assert average is not model
    expected = {name: tensor.double() for name, tensor in watched[0]["model"].items()}
    for step in watched[1:]:
        for name, tensor in step["model"].items():
            expected[name] = decay * expected[name] + (1 - decay) * tensor.double()
    moved = 0
    for name, tensor in average.state_dict().items():
        if tensor.is_floating_point():
            torch.testing.assert_close(tensor.double(), expected[name], atol=1e-5, rtol=1e-5)
            moved += not torch.allclose(tensor, watched[-1]["model"][name], atol=1e-4)
    assert moved > 5, "the weights hardly changed: any decay would pass"
    assert not torch.allclose(average[3].P, model[3].P, atol=1e-4)


def test_the_repulsive_loss_starts_at_its_epoch(store, tmp_path):
    """With weights that stand still, it adds to the loss what it is."""
    still = RECIPE | {"learning_rate": 1e-12, "min_learning_rate": 0}
    crowded = network()
    with torch.no_grad():
        crowded[3].P.mul_(0.3)
    repulsion = dcls.repulsive_loss(crowded).item()
    assert repulsion > 0.01
    losses = {}
    for name, positions in (("without", RECIPE["positions"]), ("with", REPULSIVE)):
        model = network()
        model.load_state_dict(crowded.state_dict())
        _, history = run(store, tmp_path / f"{name}.pt", recipe=still | {"positions": positions}, model=model)
        losses[name] = [record["loss"] for record in history]
    assert losses["with"][0] == losses["without"][0]
    for epoch in (1, 2):
        assert losses["with"][epoch] - losses["without"][epoch] == pytest.approx(repulsion, rel=1e-4)


EVERYTHING = {"ema_decay": 0.8, "positions": REPULSIVE, "clip_grad_norm": 0.5}


@pytest.mark.parametrize("passes", [2, 5, 10])
@pytest.mark.parametrize("changes", [{}, EVERYTHING, EVERYTHING | {"optimizer": "sgd"}], ids=["plain", "all", "sgd"])
def test_passes_add_up_to_the_step_of_the_whole_batch(store, tmp_path, watched, changes, passes):
    whole, whole_history = run(store, tmp_path / "1.pt", recipe=RECIPE | changes, model=network(plain=True))
    recipe = RECIPE | changes | {"accumulate": passes}
    parts, history = run(store, tmp_path / "2.pt", recipe=recipe, model=network(plain=True))
    losses = [record["loss"] for record in whole_history]
    assert max(losses) - min(losses) > 0.01, "a flat curve compares nothing"
    assert [record["loss"] for record in history] == pytest.approx(losses, rel=1e-5)
    # The accuracy may differ by an image whose logits are nearly equal.
    one = 1.01 / (STEPS * RECIPE["batch_size"])
    assert [r["accuracy"] for r in history] == pytest.approx([r["accuracy"] for r in whole_history], abs=one)
    assert [r["learning_rate"] for r in history] == [r["learning_rate"] for r in whole_history]
    torch.testing.assert_close(parts.state_dict(), whole.state_dict(), atol=1e-4, rtol=1e-3)
    assert len(watched) == (2 * STEPS if "ema_decay" in changes else 0), "the average follows steps, not passes"


def test_gradients_are_exchanged_once_a_step(store, tmp_path, monkeypatch):
    seen, exchange = [], Group.exchange
    monkeypatch.setattr(
        Group, "exchange", lambda self, *given, now: (seen.append(now), exchange(self, *given, now=now))[1]
    )
    run(store, tmp_path / "c.pt", recipe=RECIPE | {"accumulate": 5})
    assert seen == [False, False, False, False, True] * STEPS


def test_the_repulsive_loss_counts_once_a_step(store, tmp_path):
    still = RECIPE | {"learning_rate": 1e-12, "min_learning_rate": 0, "positions": REPULSIVE}
    losses = []
    for passes in (1, 5):
        model = network(plain=True)
        with torch.no_grad():
            model[2].P.mul_(0.3)
        assert dcls.repulsive_loss(model) > 0.01
        _, history = run(store, tmp_path / f"{passes}.pt", recipe=still | {"accumulate": passes}, model=model)
        losses.append([record["loss"] for record in history])
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)


def test_scaled_gradients_are_unscaled_once_a_step_and_one_infinite_pass_skips_the_step(store, tmp_path, monkeypatch):
    """The scaler of half precision, which acts on GPUs only, made to act on the CPU."""
    recipe = RECIPE | EVERYTHING | {"accumulate": 5, "epochs": 1, "warmup_epochs": 0}
    recipe["positions"] = REPULSIVE | {"repulsive_from_epoch": 0}
    plain = run(store, tmp_path / "plain.pt", recipe=recipe, model=network(plain=True))
    scaler, scales = torch.amp.GradScaler, []

    class Scaler(scaler):
        def __init__(self, enabled):
            super().__init__("cpu", init_scale=2.0**10)

        def update(self):
            super().update()
            scales.append(self.get_scale())

    monkeypatch.setattr(torch.amp, "GradScaler", Scaler)
    scaled = run(store, tmp_path / "scaled.pt", recipe=recipe, model=network(plain=True))
    assert scales == [2.0**10] * 4
    assert scaled[1][0]["loss"] == pytest.approx(plain[1][0]["loss"], rel=1e-5)
    torch.testing.assert_close(scaled[0].state_dict(), plain[0].state_dict(), atol=1e-5, rtol=1e-4)

    scales.clear()
    model = network(plain=True)
    start = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    calls = []

    def overflow(gradient):
        calls.append(1)
        # In the second of the five passes of each step.
        return gradient * float("inf") if len(calls) % 5 == 2 else gradient

    model[-1].weight.register_hook(overflow)
    run(store, tmp_path / "infinite.pt", recipe=recipe | {"ema_decay": None}, model=model)
    assert scales == [2.0**9, 2.0**8, 2.0**7, 2.0**6]
    assert states_equal_to(model, start)


def states_equal_to(model: nn.Module, state: dict) -> bool:
    return all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())


def test_label_smoothing_and_clipping_act(store, tmp_path):
    plain = run(store, tmp_path / "plain.pt")
    for changes in ({"label_smoothing": 0}, {"clip_grad_norm": 0.01, "optimizer": "sgd"}):
        assert not states_equal(run(store, tmp_path / "c.pt", recipe=RECIPE | changes, fingerprint="g")[0], plain[0])
        (tmp_path / "c.pt").unlink()


def test_a_loss_that_is_not_finite_is_an_error_and_leaves_no_checkpoint_of_it(store, tmp_path):
    recipe = RECIPE | {"learning_rate": 1e30, "optimizer": "sgd"}
    with pytest.raises(CamstudyError, match=r"loss became (nan|inf) in epoch 1; lower learning_rate"):
        run(store, tmp_path / "c.pt", recipe=recipe)
    assert list(tmp_path.iterdir()) == []


def test_a_batch_larger_than_the_set_is_an_error(store, tmp_path):
    with pytest.raises(CamstudyError, match=r"train\.batch_size: 49 is more than the training set holds"):
        run(store, tmp_path / "c.pt", recipe=RECIPE | {"batch_size": 49})


def test_labels_that_are_no_classes_of_the_model_are_an_error(tmp_path):
    images, labels = squares(N)
    beyond = write_store(tmp_path / "beyond.json", images, labels + 4)
    with pytest.raises(CamstudyError, match=r"labels up to 6, but the model has 3 classes; correct `num_classes`"):
        run(beyond, tmp_path / "c.pt")
