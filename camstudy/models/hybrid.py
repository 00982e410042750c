"""Patches of a vision transformer that see an image through the first layers of a small ResNet, as hybrids do."""

from collections import OrderedDict

from timm.models.resnet import BasicBlock, ResNet
from timm.models.vision_transformer_hybrid import HybridEmbed
from torch import nn

# Up to here the demo's ResNet is taken over: an eighth of the image's side, 32 channels.
LAYERS = ("conv1", "bn1", "act1", "maxpool", "layer1", "layer2")


class ResNetPatches(HybridEmbed):
    """`embed_layer` of timm's `VisionTransformer`: a token is a linear map of a patch of a ResNet's second stage.

    The hybrid of Dosovitskiy et al. 2021 (arXiv 2010.11929, section 3.1) in miniature. Its layers are those of the
    demo's ResNet, under the same names. Of images of 112 pixels they make 14x14 positions of 32 channels; with
    ``patch_size`` 2, these are 7x7 tokens.

    >>> import torch
    >>> ResNetPatches(img_size=112, patch_size=2, embed_dim=96)(torch.zeros(1, 3, 112, 112)).shape
    torch.Size([1, 49, 96])
    """

    def __init__(
        self, img_size: int = 112, patch_size: int = 2, in_chans: int = 3, embed_dim: int = 96, **given
    ) -> None:
        net = ResNet(BasicBlock, [1, 1, 1, 1], in_chans=in_chans, channels=[16, 32, 64, 96], stem_width=16)
        backbone = nn.Sequential(OrderedDict((name, getattr(net, name)) for name in LAYERS))
        super().__init__(
            backbone, img_size=img_size, patch_size=patch_size, in_chans=in_chans, embed_dim=embed_dim, **given
        )
