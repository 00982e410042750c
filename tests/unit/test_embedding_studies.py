"""Networks without a classifier in studies: their maps from end to end, what they predict, and mistakes in a study."""

import numpy as np
import pytest
import torch
from stores import INPUT, squares, write_store
from test_config import config, errors, put  # noqa: F401  (a fixture)
from test_pipeline import study
from timm.models.vision_transformer import VisionTransformer

from camstudy.analysis.summary import TableInputs
from camstudy.core.errors import CamstudyError
from camstudy.explain.checking import check_network
from camstudy.explain.embedding import class_means, cosines_with_others
from camstudy.explain.explainer import Explainer
from camstudy.explain.layers import resolve_target_layer
from camstudy.explain.run import explain_dataset
from camstudy.explain.store import Heatmaps
from camstudy.metrics.predicting import predict_by_means
from camstudy.models.inputs import prepare
from camstudy.tables.notes import targets

torch.set_num_threads(1)
N = 22
INPUTS = INPUT | {"size": 16, "crop_pct": 1.0}
SMALL = {"img_size": 16, "patch_size": 4, "embed_dim": 12, "depth": 2, "num_heads": 2}
NET = {
    "arch": "timm.models.vision_transformer.VisionTransformer",
    "kwargs": SMALL,
    "num_classes": 0,
    "head": "embedding",
    "weights": "random",
}


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    model = VisionTransformer(**SMALL, num_classes=0).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_store(tmp_path_factory.mktemp("data") / "squares.json", *squares(N))


@pytest.fixture(scope="module")
def units(network, dataset):
    with torch.no_grad():
        found = network(prepare(dataset.images(), INPUTS)).double().numpy()
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def means(units, labels, first):
    """Return the mean of the first images of each class, by its definition."""
    return np.stack([units[np.flatnonzero(labels == label)[:first]].mean(0) for label in range(labels.max() + 1)])


@pytest.mark.parametrize("first", [None, 1, 2])
def test_a_class_is_the_mean_of_its_images(network, dataset, units, first):
    found = class_means(network, INPUTS, dataset, first=first, batch_size=5)
    np.testing.assert_allclose(found, means(units, dataset.labels, first), atol=1e-5)


@pytest.mark.parametrize("first", [None, 1])
def test_maps_explain_the_cosine_with_the_class_of_the_label(network, dataset, units, first, tmp_path):
    method = {"method": "gradcam", "parameters": {}, "target": "embedding", "geometry": "aligned", "references": first}
    explainer = Explainer(network, resolve_target_layer(network, size=16), INPUTS, method)
    about = ("dataset", "model", "method", "parameters", "layer", "target_policy", "reference")
    attrs = dict.fromkeys(about, "") | {"parameters": {}}
    settings = {"batch_size": 4, "chunk_size": 8}
    # Parts of the images are compared with all of them.
    parts = {tmp_path / "a.json": slice(0, 8), tmp_path / "b.json": slice(8, N)}
    for manifest, images in parts.items():
        explain_dataset(manifest, dataset, explainer, images=images, settings=settings, attrs=attrs, identity="i")
    stored = Heatmaps([*parts])
    classes = torch.from_numpy(means(units, dataset.labels, first)).float()
    kept = []
    handle = explainer.layer.module.register_forward_hook(lambda m, i, output: kept.append(output))
    embedding = network(prepare(dataset.images(), INPUTS))
    handle.remove()
    cosines = torch.cosine_similarity(embedding, classes[torch.from_numpy(dataset.labels)])
    (gradient,) = torch.autograd.grad(cosines.sum(), kept[0])
    weights = gradient[:, 1:].mean(1, keepdim=True)
    expected = (kept[0][:, 1:] * weights).mean(2).relu().reshape(N, 4, 4).detach()
    np.testing.assert_allclose(stored.maps(), expected, atol=1e-6)
    assert np.array_equal(stored.targets(), dataset.labels)


def test_the_prediction_is_the_class_whose_other_images_are_nearest(network, dataset, units):
    found = predict_by_means(network, INPUTS, dataset, 5)
    for image, label in enumerate(dataset.labels):
        for other in range(dataset.labels.max() + 1):
            left = np.flatnonzero((dataset.labels == other) & (np.arange(N) != image))
            mean = units[left].mean(0)
            expected = units[image] @ mean / np.linalg.norm(mean)
            assert found[image, other] == pytest.approx(expected, abs=1e-5), (image, label, other)


def test_an_image_alone_in_its_class_has_nothing_in_common_with_it():
    found = cosines_with_others(np.array([[1.0, 0], [1, 1], [0, 2]]), np.array([0, 1, 1]))
    np.testing.assert_allclose(found, [[0, 1 / np.sqrt(2 + 2**0.5) * 2**-0.5], [0.5**0.5, 0.5**0.5], [0, 0.5**0.5]])


def test_images_without_labels_are_refused(network, tmp_path):
    images, labels = squares(4)
    unlabeled = write_store(tmp_path / "unlabeled.json", images, np.full_like(labels, -1))
    with pytest.raises(CamstudyError, match="has no labels, whose images `target: embedding` compares with"):
        class_means(network, INPUTS, unlabeled)
    with pytest.raises(CamstudyError, match="has images without a label"):
        predict_by_means(network, INPUTS, unlabeled, 4)


def test_a_network_without_a_classifier_is_checked():
    entry = NET | {"variant": {}, "train": None, "target_layer": None, "input": {"size": 16}}
    found = check_network(entry)
    assert (found["dimensions"], found["layer"]["path"], "classes" in found) == (12, "blocks.1.norm1", False)
    tokens = entry | {"kwargs": SMALL | {"global_pool": ""}}
    with pytest.raises(CamstudyError, match=r"head: .* returns a tensor \(2, 17, 12\).*expected embeddings"):
        check_network(tokens)


def test_classifiers_and_embeddings_have_methods_of_their_own():
    names = ["gradcam", "gae", "gradcam_embedding", "gae_embedding"]
    chosen = {"models": ["tiny_resnet", "net"], "methods": names, "comparisons": []}
    found = study(**chosen, tables=["scores"], catalog={"models": {"net": NET}})
    expected = [("tiny_resnet", "gradcam"), ("net", "gradcam_embedding"), ("net", "gae_embedding")]
    assert found.maps(with_controls=False) == expected


def test_tables_say_what_an_embedding_is_compared_with():
    one = {"method": "gae", "title": "One", "target": "embedding", "references": 1}
    names, net = ["gradcam_embedding", "one"], {"models": {"net": NET}, "methods": {"one": one}}
    found = study(models=["net"], methods=names, comparisons=[], tables=["scores"], catalog=net)
    inputs = TableInputs(scores=None, comparisons=None, models={}, study=found.config, dataset={})
    assert [*targets(inputs, names)] == [
        "Explained class (Grad-CAM (embedding)): the image's label, as the mean embedding of its images.",
        "Explained class (One): the image's label, as the mean embedding of its first image.",
    ]


MISTAKES = [
    ({"catalog.models.net.head": "softmax"}, "catalog.models.net.num_classes", "found 0, expected at least 2, or"),
    (
        {"catalog.models.net.train": {"dataset": "scenes_train", "epochs": 2}},
        "catalog.models.net.train",
        "no classifier to train",
    ),
    ({"methods": ["gradcam"]}, "methods[0]", "none of `models` has any; set its `target: embedding`"),
    ({"protocols": ["masked"]}, "protocols[0]", "asks a model about classes, and `net` has none"),
    ({"models": ["net_dcls"]}, "methods[0]", "explains networks with `head: embedding` alone"),
    ({"models": ["net_dcls", "net"], "methods": ["gradcam"]}, "models[1]", "none of `methods` has `target: embed"),
    ({"catalog.methods.gradcam.references": 1}, "catalog.methods.gradcam.references", "`target: embedding` alone"),
]


@pytest.mark.parametrize(("changes", "place", "text"), MISTAKES)
def test_mistakes_are_told(config, changes, place, text):  # noqa: F811
    usual = {"catalog.models.net": dict(NET), "models": ["net"], "methods": ["gradcam_embedding"], "comparisons": []}
    usual["catalog.methods.gradcam_embedding"] = {"method": "gradcam", "target": "embedding"}
    for key, value in {**usual, "tables": ["scores"], "figures": [], **changes}.items():
        put(config, key, value)
    assert text in errors(config)[place]
