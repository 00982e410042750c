"""Networks for small images, such as CIFAR's of 32x32 pixels: torchvision's, with another beginning."""

from torch import nn
from torchvision.models import mobilenet_v2 as torchvision_mobilenet_v2
from torchvision.models import resnet18 as torchvision_resnet18


def resnet18(num_classes: int = 100) -> nn.Module:
    """Return torchvision's ResNet-18 with a first convolution of 3x3 and stride 1, and without max-pooling.

    The usual one for CIFAR: at 32x32 pixels its stages have 32, 16, 8 and 4 positions a side, instead of 8, 4, 2 and 1.
    """
    model = torchvision_resnet18(num_classes=num_classes)
    model.conv1 = nn.Conv2d(3, 64, kernel_size=3, stride=1, padding=1, bias=False)
    # As torchvision draws the others.
    nn.init.kaiming_normal_(model.conv1.weight, mode="fan_out", nonlinearity="relu")
    model.maxpool = nn.Identity()
    return model


def mobilenet_v2(num_classes: int = 100, stem_stride: int = 2) -> nn.Module:
    """Return torchvision's MobileNet-V2; with ``stem_stride`` 1, its first convolution keeps the resolution.

    With stride 2, as it comes, an image of 32x32 pixels ends as a single position; with 1, as two by two.
    """
    if stem_stride not in (1, 2):
        raise ValueError(f"stem_stride: found {stem_stride}, expected 1 or 2")
    model = torchvision_mobilenet_v2(num_classes=num_classes)
    model.features[0][0].stride = (stem_stride, stem_stride)
    return model
