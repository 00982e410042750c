"""Training a part of a network: the rest is frozen to the bit; held-out images, and which epoch's weights remain."""

import copy

import numpy as np
import pytest
import torch
from stores import CLASSES, INPUT, squares, write_store
from test_distributed import BATCH, CPU, ENTRY
from test_distributed import RECIPE as SHARED
from test_training import RECIPE, Loader, assert_same_run, run, states_equal
from timm.models.convnext import ConvNeXt
from timm.models.resnet import BasicBlock, ResNet
from torch import nn

from camstudy.core.errors import CamstudyError
from camstudy.models.inputs import prepare
from camstudy.models.load import draw_fan_in
from camstudy.models.variants import castream, dcls
from camstudy.training.data import ChunkShuffle, TrainingLoader
from camstudy.training.run import train_entry
from camstudy.training.subset import begin, choose
from camstudy.training.validation import held_out, selected

torch.set_num_threads(1)

N = 60
STREAM = RECIPE | {
    "trainable": ["stream"],
    "learning_rate": 0.02,
    "warmup_epochs": 0,
    "drops": {"epochs": 2, "factor": 0.1},
    "decay_all": True,
    "weight_decay": 0.0,
    "label_smoothing": 0.0,
}

STILL = {"scale": [1.0, 1.0], "flip": 0, "color_jitter": 0, "erase": 0}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return write_store(tmp_path_factory.mktemp("data") / "squares.json", *squares(N))


def network(token: str = "agnostic") -> nn.Module:
    """Return a ResNet with DCLS layers, batch norms with statistics, all kinds of randomness in training, a stream."""
    torch.manual_seed(0)
    model = ResNet(
        BasicBlock,
        (1, 1, 1, 1),
        CLASSES,
        channels=(8, 12, 16, 20),
        drop_rate=0.3,
        drop_path_rate=0.3,
        drop_block_rate=0.1,
    )
    draw_fan_in(model)
    model = dcls.convert(model, replace="conv3x3", kernel_size=5, kernel_count=9, version="v1", init="preserve")
    with torch.no_grad():
        for _ in range(10):
            model.train()(torch.randn(8, 3, 64, 64))
        # As an average of weights may have it.
        next(dcls.dcls_layers(model)).P[0, 0, 0, 0] = 2.3
    return castream.convert(model, token=token)


def fit(store, checkpoint, recipe, model):
    # The last stage has 2x2 positions: with one, attention has nothing to choose.
    loader = TrainingLoader(store, recipe, INPUT | {"size": 64}, 0)
    return run(store, checkpoint, recipe=recipe, model=model, loader=loader)


def frozen_part(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items() if not name.startswith("stream")}


def images(n: int = 4) -> torch.Tensor:
    return torch.randn(n, 3, 32, 32, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("ema", [None, 0.8])
def test_what_is_frozen_stays_to_the_bit(store, tmp_path, ema):
    model = network().eval()
    before, stream = frozen_part(model), copy.deepcopy(model.stream.state_dict())
    with torch.no_grad():
        features = model.forward_features(images())
    model, history = fit(store, tmp_path / "c.pt", STREAM | {"ema_decay": ema}, model)
    after = frozen_part(model)
    assert before.keys() == after.keys()
    assert any(name.endswith("running_var") for name in before)
    assert [name for name in before if not torch.equal(before[name], after[name])] == []
    with torch.no_grad():
        assert torch.equal(model.forward_features(images()), features)
    assert all(not torch.equal(model.stream.state_dict()[name], tensor) for name, tensor in stream.items())
    assert [record["learning_rate"] for record in history] == pytest.approx([0.02, 0.002, 0.002])


def test_the_stream_learns(store, tmp_path):
    recipe = STREAM | {"epochs": 8, "learning_rate": 0.05, "drops": None, "augment": STILL}
    _, history = fit(store, tmp_path / "c.pt", recipe, network())
    assert history[-1]["loss"] < 0.8 * history[0]["loss"]


def test_the_frozen_part_records_no_graph_and_evaluates():
    model = network()
    seen = {}
    for name in ("layer1", "layer4", "stream.blocks.4"):
        model.get_submodule(name).register_forward_hook(
            lambda module, inputs, output, name=name: seen.update({name: output})
        )
    chosen = choose(model, ["stream"])
    begin(model, chosen)
    logits = model(images())
    assert not seen["layer1"].requires_grad
    assert not seen["layer4"].requires_grad
    assert seen["stream.blocks.4"][0].requires_grad
    assert logits.requires_grad
    names = {name for name, module in model.named_modules() if module.training}
    assert names == {name for name, _ in model.named_modules() if name.partition(".")[0] == "stream"}


def test_modules_are_chosen_by_name_and_pattern():
    model = network()
    chosen = choose(model, ["layer4.*.bn?", "fc"])
    assert [id(module) for module in chosen] == [id(model.layer4[0].bn1), id(model.layer4[0].bn2), id(model.fc)]
    names = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert names == {f"layer4.0.{norm}.{part}" for norm in ("bn1", "bn2") for part in ("weight", "bias")} | {
        "fc.weight",
        "fc.bias",
    }
    assert choose(model, None) == [model]
    with pytest.raises(CamstudyError, match=r"module of ResNet \(train\.trainable\).*`streem`.*`stream`"):
        choose(model, ["stream", "streem"])
    with pytest.raises(CamstudyError, match=r"train\.trainable: maxpool have no parameters"):
        choose(model, ["maxpool"])


def test_labels_reach_the_tokens_of_their_classes_alone(store, tmp_path):
    """With the labels of one class held out of the data, its token has no gradient and, without decay, stays."""
    pixels, labels = squares(N)
    two = write_store(tmp_path / "two.json", pixels[labels < 2], labels[labels < 2])
    model = network("class_specific")
    before = model.stream.token.detach().clone()
    model, _ = fit(two, tmp_path / "c.pt", STREAM, model)
    assert torch.equal(model.stream.token[2], before[2])
    assert not torch.equal(model.stream.token[0], before[0])
    assert not torch.equal(model.stream.token[1], before[1])
    assert model.stream.labels is None


# ---- held out


def test_images_that_are_held_out_are_not_trained_on():
    held = held_out(46, 1 / 6, seed=3)
    assert len(held) == 8
    assert sorted(set(held)) == held.tolist()
    assert held.tolist() == held_out(46, 1 / 6, seed=3).tolist() != held_out(46, 1 / 6, seed=4).tolist()
    sampler = ChunkShuffle(46, 8, 3, held)
    for epoch in (0, 1):
        sampler.epoch = epoch
        assert sorted([*sampler, *held]) == list(range(46))
    assert len(sampler) == 38
    whole = ChunkShuffle(46, 8, 3)
    whole.epoch = 1
    # The order of the others is what it was.
    assert [index for index in whole if index not in held] == list(sampler)


def test_validation_is_the_mean_over_the_held_out_images(store, tmp_path):
    recipe = RECIPE | {"hold_out": 0.3, "epochs": 2}
    model, history = run(store, tmp_path / "c.pt", recipe=recipe)
    held = held_out(N, 0.3, seed=0)
    with torch.no_grad():
        logits = model(prepare(store.images(held), INPUT)).double()
    labels = torch.from_numpy(store.labels[held])
    losses = [logits[i].logsumexp(0) - logits[i, label] for i, label in enumerate(labels)]
    assert history[-1]["validation_loss"] == pytest.approx(torch.stack(losses).mean().item(), rel=1e-5)
    assert history[-1]["validation_accuracy"] == pytest.approx((logits.argmax(1) == labels).double().mean().item())
    assert {"validation_loss", "validation_accuracy"} <= history[0].keys()


def test_holding_out_does_not_change_what_comes_after_it(store, tmp_path):
    """Validation draws no random numbers and leaves the network in training mode."""
    recipe = RECIPE | {"hold_out": 0.2}
    first, _ = run(store, tmp_path / "a.pt", recipe=recipe)

    class Without(TrainingLoader):
        def validation(self, device):
            return iter([(torch.zeros(1, 3, 16, 16), torch.zeros(1, dtype=torch.int64))])

    second, _ = run(store, tmp_path / "b.pt", recipe=recipe, loader=Without(store, recipe, INPUT, 0))
    assert states_equal(first, second)


@pytest.mark.parametrize("ema", [None, 0.5])
def test_the_best_epoch_remains_and_is_known_after_an_interruption(store, tmp_path, ema):
    recipe = RECIPE | {"hold_out": 0.3, "select": "best", "ema_decay": ema}
    undisturbed = run(store, tmp_path / "u.pt", recipe=recipe)
    best = min(undisturbed[1], key=lambda record: record["validation_loss"])
    assert selected(undisturbed[1], "best") is best
    assert selected(undisturbed[1], "last") is undisturbed[1][-1]
    # The schedule is for all epochs: a run that ends with the best one has its weights.
    checkpoint = tmp_path / "c.pt"
    if best["epoch"] < 3:
        with pytest.raises(KeyboardInterrupt):
            run(store, checkpoint, recipe=recipe, loader=Loader(store, recipe, INPUT, 0, stop=best["epoch"]))
        state = torch.load(checkpoint, weights_only=True)
        assert all(torch.equal(undisturbed[0].state_dict()[name], value) for name, value in state["best"].items())
    else:
        with pytest.raises(KeyboardInterrupt):
            run(store, checkpoint, recipe=recipe, loader=Loader(store, recipe, INPUT, 0, stop=1))
    assert_same_run(run(store, checkpoint, recipe=recipe), undisturbed)


def test_the_first_of_equal_epochs_is_the_best():
    history = [{"epoch": epoch, "validation_loss": loss} for epoch, loss in enumerate([0.5, 0.2, 0.4, 0.2], 1)]
    assert selected(history, "best")["epoch"] == 2


def test_a_share_of_no_image_is_refused(store):
    with pytest.raises(CamstudyError, match=r"train\.hold_out: 0\.001 of 60 images is none"):
        TrainingLoader(store, RECIPE | {"hold_out": 0.001}, INPUT, 0)


# ---- several processes


class Network(ConvNeXt):
    """A small ConvNeXt, which processes that are begun anew can import."""

    def __init__(self, num_classes: int) -> None:
        super().__init__(depths=[1, 1, 1, 1], dims=[8, 8, 12, 12], ls_init_value=None, num_classes=num_classes)


@pytest.mark.full
def test_two_processes_train_a_stream_as_one(tmp_path):
    manifest = tmp_path / "squares.json"
    write_store(manifest, *squares(45))
    recipe = SHARED | {"epochs": 2, "trainable": ["stream"], "hold_out": 0.2, "select": "best", "learning_rate": 0.03}
    entry = ENTRY | {
        "arch": "test_subset.Network",
        "variant": {"castream": {"token": "class_specific"}},
        "train": recipe,
    }
    job = {"weights": None, "dataset": str(manifest), "threads": 1, "fingerprint": "f", "device": CPU}
    (alone, history), (two, histories) = (
        train_entry(entry, checkpoint=str(tmp_path / f"{n}.pt"), processes=n, **job) for n in (1, 2)
    )
    for record, other in zip(history, histories, strict=True):
        for key, tolerance in (("loss", 1e-4), ("validation_loss", 1e-4), ("accuracy", 1.01 / 30)):
            assert record[key] == pytest.approx(other[key], abs=tolerance)
    assert np.std([record["loss"] for record in history]) > 0
    torch.testing.assert_close(two.state_dict(), alone.state_dict(), atol=1e-3, rtol=1e-3)
    assert BATCH == 10
