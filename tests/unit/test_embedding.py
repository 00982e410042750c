"""Similarity to reference embeddings: cosines by NumPy, and maps of a network that has no classifier."""

import numpy as np
import pytest
import torch
from timm.models.vision_transformer import VisionTransformer

from camstudy.api import explain
from camstudy.core.errors import CamstudyError
from camstudy.explain.embedding import Similarity, reference_embeddings
from camstudy.explain.layers import resolve_target_layer

torch.set_num_threads(1)
INPUT = {"size": 16, "crop_pct": 1.0}


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    small = {"img_size": 16, "patch_size": 4, "embed_dim": 12, "depth": 2, "num_heads": 2, "num_classes": 0}
    model = VisionTransformer(**small).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model


def test_logits_are_cosines_with_the_mean_of_each_group(network):
    images = torch.randn(6, 3, 16, 16)
    groups = [images[:2], images[2:5]]
    with torch.no_grad():
        raw = network(images).double().numpy()
    units = raw / np.linalg.norm(raw, axis=1, keepdims=True)
    means = np.stack([units[:2].mean(0), units[2:5].mean(0)])
    found = reference_embeddings(network, groups, batch_size=2)
    np.testing.assert_allclose(found, means, atol=1e-5)
    expected = units @ (means / np.linalg.norm(means, axis=1, keepdims=True)).T
    with torch.no_grad():
        np.testing.assert_allclose(Similarity(network, found)(images), expected, atol=1e-5)


@pytest.mark.parametrize("method", ["gradcam", "raw_attention", "gae", "input_gradient"])
def test_maps_explain_the_cosine_with_a_second_image(network, method):
    rng = np.random.default_rng(0)
    first, second, third = rng.integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)
    (found,) = explain(network, [first], method, references=[[second]], input=INPUT)
    (other,) = explain(network, [first], method, references=[[third]], input=INPUT)
    assert (found.target, found.probability) == (0, 1.0)
    assert np.isfinite(found.values).all()
    assert np.array_equal(found.values, other.values) == (method == "raw_attention")
    (one, two) = (
        explain(network, [first], method, references=[[second], [third]], targets=[number], input=INPUT)[0]
        for number in (0, 1)
    )
    np.testing.assert_allclose(one.values, found.values, atol=1e-6)
    np.testing.assert_allclose(two.values, other.values, atol=1e-6)
    assert not hasattr(network, "references")


def test_gradcam_of_a_cosine_is_what_its_definition_says(network):
    rng = np.random.default_rng(1)
    first, second = rng.integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)
    (found,) = explain(network, [first], "gradcam", references=[[second]], input=INPUT)
    mean, std = (torch.tensor(values)[:, None, None] for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    images = [((torch.from_numpy(image).permute(2, 0, 1) / 255 - mean) / std)[None] for image in (first, second)]
    kept = []
    handle = resolve_target_layer(network).module.register_forward_hook(lambda m, i, o: kept.append(o))
    embedding = network(images[0])
    handle.remove()
    cosine = torch.cosine_similarity(embedding, network(images[1]).detach()).sum()
    (gradient,) = torch.autograd.grad(cosine, kept[0])
    weights = gradient[0, 1:].mean(0)
    expected = (kept[0][0, 1:] * weights).mean(1).relu().reshape(4, 4)
    np.testing.assert_allclose(found.values, expected.detach(), atol=1e-6)


def test_what_is_no_embedding_is_refused(network):
    image = np.zeros((16, 16, 3), np.uint8)
    with pytest.raises(CamstudyError, match="reference 1 has no images"):
        reference_embeddings(network, [torch.zeros(1, 3, 16, 16), torch.zeros(0, 3, 16, 16)])
    with pytest.raises(CamstudyError, match="returns no embeddings"):
        reference_embeddings(torch.nn.Conv2d(3, 2, 3), [torch.zeros(1, 3, 16, 16)])
    with pytest.raises(CamstudyError, match="it is not known what"):
        explain(network, [image], "class_embedding_projection", references=[[image]], input=INPUT)
    with pytest.raises(CamstudyError, match="images have no labels here"):
        explain(network, [image], references=[[image]], targets="other", input=INPUT)
