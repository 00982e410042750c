"""Cross-attention stream (CA-Stream): a token attends to the stages of a network and takes the place of global pooling.

Torres, Zhang, Sicre, Ayache and Avrithis (2024), arXiv 2404.14996. The stream stands beside the network, whose features
stay what they are: it reads them as they pass, and its last token goes to the network's own head. A class activation
map is then the attention of the pooling itself.
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial

import timm.models
import torch
import torchvision
from timm.layers import SelectAdaptivePool2d
from torch import Tensor, nn

from camstudy.core.errors import CamstudyError, unknown
from camstudy.models.seeding import seeded
from camstudy.models.variants import VARIANTS

BLOCKS = ("ca", "projca")
TOKENS = ("agnostic", "class_specific")
LAYOUTS = ("nchw", "nhwc")

_RESNETS = (timm.models.ResNet, torchvision.models.ResNet)
_CONVNEXTS = (timm.models.ConvNeXt, torchvision.models.ConvNeXt)
# Side of the blank image with which a network's stages are measured, unless it takes images of one size alone.
_BLANK = 64


class CrossAttention(nn.Module):
    """One block of the stream: single-head cross-attention of one token to c-dimensional features.

    ``ca`` has no projections but the last, to the width of the next block; ``projca`` projects keys and values.
    """

    def __init__(self, width: int, width_next: int, *, block: str = "ca", bias: bool = True) -> None:
        super().__init__()
        self.width = width
        projected = block == "projca"
        self.key = nn.Linear(width, width, bias) if projected else None
        self.value = nn.Linear(width, width, bias) if projected else None
        self.out = nn.Linear(width, width_next, bias)

    def forward(self, features: Tensor, token: Tensor) -> tuple[Tensor, Tensor]:
        """Return the next token (n, c_next) and the scores before the softmax (n, h, w).

        s = q.K / sqrt(c), a = softmax(s) over positions, q' = W sum a V + b, with K = V = F for `ca`.

        Parameters
        ----------
        features : F, (n, c, h, w)
        token : q, (n, c)
        """
        # Divided before the product, which half precision might not hold.
        positions, query, offset = features.flatten(2), token / math.sqrt(self.width), 0
        if self.key is not None:
            # q.(W F + b) = (W'q).F + q.b: the query is projected once, not every position.
            if self.key.bias is not None:
                offset = query @ self.key.bias[:, None]
            query = query @ self.key.weight
        scores = (query[:, None] @ positions)[:, 0] + offset
        pooled = (positions @ scores.softmax(1)[..., None])[..., 0]
        if self.value is not None:
            # Attention sums to 1, so that the projection of the mean is the mean of the projections.
            pooled = self.value(pooled)
        return self.out(pooled), scores.unflatten(1, features.shape[2:])

    def multiply_adds(self, features: Tensor, _token: Tensor) -> int:
        """Return the multiply-adds of an image beside those of the layers that it calls, for `camstudy.models.cost`."""
        projection = 0 if self.key is None else self.width**2
        return 2 * features[0].numel() + projection


class Stream(nn.Module):
    """The blocks and the token (1, c), or a token for each class (classes, c), beside a network that `attach` binds.

    ``labels`` int64 (n,) are those of the next images in training; class-specific tokens are chosen by them, and by
    what the network without the stream predicts for the same input otherwise.
    """

    takes_labels = True

    def __init__(self, widths: list[int], *, block: str = "ca", tokens: int = 1, bias: bool = True) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.empty(tokens, widths[0]))
        following = [*widths[1:], widths[-1]]
        self.blocks = nn.ModuleList(
            CrossAttention(width, after, block=block, bias=bias) for width, after in zip(widths, following, strict=True)
        )
        self.labels: Tensor | None = None
        self.layout = "nchw"
        # Not modules of the stream: they belong to the network.
        self.head: list[nn.Module] = []
        self._features: dict[int, Tensor] = {}

    def draw(self, family: str) -> None:
        """Draw initial weights: the token from N(1, 1), the rest as for ResNets or as for ConvNeXts."""
        nn.init.normal_(self.token, 1, 1)
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                layer.reset_parameters()
                if family == "convnext":
                    nn.init.trunc_normal_(layer.weight, std=0.02)
                    if layer.bias is not None:
                        nn.init.zeros_(layer.bias)
                else:
                    nn.init.xavier_uniform_(layer.weight)

    def attach(self, model: nn.Module, stages: list[nn.Module], pool: nn.Module) -> None:
        """Read features after ``stages`` and, as the last, before ``pool``, and replace what ``pool`` returns."""
        model.register_forward_pre_hook(self._begin)
        for number, stage in enumerate(stages):
            stage.register_forward_hook(partial(self._keep, number))
        pool.register_forward_hook(self._pool)

    def forward(self, features: list[Tensor], token: Tensor) -> Tensor:
        """Return the last token (n, c) from the features of every block, (n, c, h, w) each, and the first token."""
        for block, each in zip(self.blocks, features, strict=True):
            token, _ = block(each, token)
        return token

    def published_names(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return a state of the authors' own models with the names that it has here; others are left alone.

        Theirs are `cls_token` with two axes of length 1, `base`, `l1` to `l4` of ResNets or `cls_stream` of ConvNeXts,
        all below `base_model` where they were saved within another module.
        """
        theirs = ("base", "l1", "l2", "l3", "l4")
        renamed = {}
        for name, tensor in state.items():
            plain = name.removeprefix("base_model.")
            first, _, rest = plain.partition(".to_out.1.")
            number = first.removeprefix("cls_stream.")
            if plain == "cls_token":
                plain, tensor = "stream.token", tensor.reshape(-1, tensor.shape[-1])
            elif rest and first in theirs:
                # With fewer blocks, the first ones are those that are left out.
                plain = f"stream.blocks.{theirs.index(first) - len(theirs) + len(self.blocks)}.out.{rest}"
            elif rest and number.isdecimal():
                plain = f"stream.blocks.{number}.out.{rest}"
            renamed[plain] = tensor
        return renamed

    def _begin(self, _model: nn.Module, _inputs: object) -> None:
        # A pass that failed may have left some.
        self._features.clear()

    def _keep(self, number: int, _stage: nn.Module, _inputs: object, output: Tensor) -> None:
        self._features[number] = output

    def _pool(self, _pool: nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor:
        kept, self._features = self._features, {}
        last = len(self.blocks) - 1
        if kept.keys() != set(range(last)):
            raise RuntimeError("a stage of the network did not run before its pooling")
        features = [self._channels_first(each) for each in (*(kept[number] for number in range(last)), inputs[0])]
        return self(features, self._first_tokens(output)).reshape(output.shape)

    def _channels_first(self, features: Tensor) -> Tensor:
        return features.permute(0, 3, 1, 2) if self.layout == "nhwc" else features

    def _first_tokens(self, pooled: Tensor) -> Tensor:
        """Return the token of each image, (n, c)."""
        labels, self.labels = self.labels, None
        if len(self.token) == 1:
            return self.token.expand(len(pooled), -1)
        if labels is None or not self.training:
            with torch.no_grad():
                labels = through(self.head, pooled).argmax(1)
        return self.token[labels]


def through(head: list[nn.Module], pooled: Tensor) -> Tensor:
    """Return what modules, one after the other, make of a pooled vector, (n, c) or with axes of length 1."""
    for module in head:
        pooled = module(pooled.flatten(1) if isinstance(module, nn.Linear) else pooled)
    return pooled


def fold(model: nn.Module) -> nn.Module:
    """Return the model: nothing of a stream is for training alone."""
    return model


@VARIANTS.register("castream", fold=fold)
def convert(
    model: nn.Module,
    *,
    block: str = "ca",
    start: int = 0,
    token: str = "agnostic",
    bias: bool = True,
    seed: int = 0,
) -> nn.Module:
    """Put a stream beside a network, in place, as its module `stream`, and return the network.

    Parameters
    ----------
    model : a network with stages that can be found: ResNets (after `maxpool`, `layer1` to `layer4`) and ConvNeXts
        (`stem`, the downsampling before the second and third stage, the end of the last one) of timm and torchvision
        as in the paper; any other network of timm after what its ``feature_info`` names. The last block always looks
        at what enters global pooling
    block : ``ca``, or ``projca`` with projections of keys and values (paper, table 4)
    start : how many of the first blocks are left out (paper, table 5)
    token : ``agnostic``: one for all images; ``class_specific``: one for each class, that of the label in training
        and of the class that the network without the stream predicts for the very input otherwise (paper, table 6)
    bias : whether the linear layers of the blocks have a bias, as in the released code
    seed : of the stream's initial weights; torch's own generators are left as they were

    Raises
    ------
    CamstudyError
        for other values, a network without such stages, and one that does not end in global average pooling.
    """
    for key, value, valid in (("block", block, BLOCKS), ("token", token, TOKENS)):
        if value not in valid:
            raise unknown(f"castream.{key}", value, valid)
    if hasattr(model, "stream"):
        raise CamstudyError(f"castream: {type(model).__name__} has a module `stream` already; apply the variant once")
    paths = _stages(model)
    if type(start) is not int or not 0 <= start < len(paths):
        raise CamstudyError(
            f"castream.start: found {start!r}, but {type(model).__name__} has {len(paths)} places; use 0 to"
            f" {len(paths) - 1}"
        )
    # The last one is what enters the pooling, wherever a network makes it.
    stages = [model.get_submodule(path) for path in paths[start:-1]]
    survey = _Survey(model, stages)
    tokens = len(survey.logits[0]) if token == "class_specific" else 1
    with seeded(seed):
        stream = Stream(survey.widths, block=block, tokens=tokens, bias=bias)
        stream.draw("convnext" if isinstance(model, _CONVNEXTS) else "resnet")
    stream.layout = survey.layout
    if token == "class_specific":
        stream.head = survey.head()
    reference = next(model.parameters())
    model.stream = stream.to(reference.device, reference.dtype).train(model.training)
    stream.attach(model, stages, survey.pool)
    return model


def _stages(model: nn.Module) -> list[str]:
    """Return the paths of the modules whose outputs the stream reads, from the first to the last."""
    if isinstance(model, _RESNETS):
        return ["maxpool", "layer1", "layer2", "layer3", "layer4"]
    if isinstance(model, timm.models.ConvNeXt):
        middle = [f"stages.{number}.downsample" for number in range(1, len(model.stages) - 1)]
        return ["stem", *middle, f"stages.{len(model.stages) - 1}"]
    if isinstance(model, torchvision.models.ConvNeXt):
        # Stem, stage, downsampling, stage, ...: the downsampling before the last stage is not looked at.
        last = len(model.features) - 1
        return [*(f"features.{number}" for number in range(0, last - 2, 2)), f"features.{last}"]
    modules = dict(model.named_modules())
    info = getattr(model, "feature_info", None) or []
    found = [stage["module"] for stage in info if stage["module"] in modules]
    if not found:
        raise CamstudyError(
            f"castream: {type(model).__name__} does not say which modules its stages are (timm's `feature_info`); take"
            " a ResNet, a ConvNeXt, or another network of timm that says so"
        )
    return found


class _Survey:
    """What one pass of a blank image tells of a network: the pooling, the widths and layout of what the stream reads.

    ``widths`` has an entry for each stage and one for what enters ``pool``; ``logits`` are (1, classes).
    """

    def __init__(self, model: nn.Module, stages: list[nn.Module]) -> None:
        self._name = type(model).__name__
        outputs: dict[nn.Module, Tensor] = {}
        pools: list[tuple[nn.Module, Tensor, Tensor]] = []
        after: list[nn.Module] = []

        def note(module: nn.Module, inputs: tuple, output: object) -> None:
            outputs[module] = output
            if isinstance(module, SelectAdaptivePool2d | nn.AdaptiveAvgPool2d):
                pools.append((module, inputs[0], output))
                after.clear()
            elif not any(module.children()):
                after.append(module)

        with _watched(model, note) as image:
            self.logits = model(image)
        if not pools or getattr(pools[-1][0], "pool_type", "avg") != "avg" or not self._pools(*pools[-1][1:]):
            raise CamstudyError(
                f"castream: {self._name} does not end in a module of global average pooling over several positions"
                " (torch's AdaptiveAvgPool2d, timm's SelectAdaptivePool2d), whose place the stream takes; choose"
                " another network"
            )
        self.pool, entering, self._pooled = pools[-1]
        self._after = list(after)
        features = [*(outputs.get(stage) for stage in stages), entering]
        self.layout = self._layout(model, features)
        self.widths = [each.shape[1 if self.layout == "nchw" else 3] for each in features]

    def head(self) -> list[nn.Module]:
        """Return the modules from the pooled vector to the logits."""
        with torch.no_grad():
            found = through(self._after, self._pooled)
        if found.shape != self.logits.shape or not torch.allclose(found, self.logits, atol=1e-5):
            raise CamstudyError(
                f"castream.token: what follows the pooling of {self._name} is no chain of modules, which"
                " `class_specific` needs to predict a class; use `agnostic`"
            )
        return self._after

    def _pools(self, entering: Tensor, pooled: Tensor) -> bool:
        return entering.ndim == 4 and entering[0].numel() > pooled[0].numel() == max(pooled.shape[1:])

    def _layout(self, model: nn.Module, features: list[object]) -> str:
        """Return the order of the axes: timm's networks state it, of others the equal sides of an image tell."""
        if not all(isinstance(each, Tensor) and each.ndim == 4 for each in features):
            raise CamstudyError(
                f"castream: a stage of {self._name} returns no feature maps with two spatial axes; choose another"
                " network"
            )
        stated = getattr(model, "output_fmt", "").lower()
        if stated in LAYOUTS:
            return stated
        return "nchw" if all(each.shape[2] == each.shape[3] for each in features) else "nhwc"


@contextmanager
def _watched(model: nn.Module, note: object) -> Iterator[Tensor]:
    """Yield a blank image, with ``note`` called after every module, without gradients and in evaluation mode."""
    modes = [(module, module.training) for module in model.modules()]
    config = getattr(model, "pretrained_cfg", None) or {}
    size = config["input_size"][-1] if config.get("fixed_input_size") else _BLANK
    handles = [module.register_forward_hook(note) for module in model.modules() if module is not model]
    try:
        model.eval()
        with torch.no_grad():
            yield next(model.parameters()).new_zeros(1, 3, size, size)
    finally:
        for handle in handles:
            handle.remove()
        for module, mode in modes:
            module.training = mode
