import pytest
import torch

from chipmend.zoo import NETWORKS, imagenet

# parameters of torchvision's networks as its documentation states them, the VGGs with batch norm,
# and of timm's vit_small_patch16_224
PUBLISHED = {
    "alexnet": 61_100_840,
    "mobilenet_v2": 3_504_872,
    "resnet18": 11_689_512,
    "vgg11": 132_868_840,
    "vgg16": 138_365_992,
    "vit": 22_050_664,
}
# some names of tensors in its files, with their sizes
NAMES = {
    "alexnet": {"features.3.weight": (192, 64, 5, 5), "classifier.6.bias": (1000,)},
    "mobilenet_v2": {
        "features.0.0.weight": (32, 3, 3, 3),
        "features.1.conv.0.0.weight": (32, 1, 3, 3),
        "features.1.conv.1.weight": (16, 32, 1, 1),
        "features.2.conv.3.running_var": (24,),
        "features.18.1.bias": (1280,),
        "classifier.1.weight": (1000, 1280),
    },
    "resnet18": {
        "conv1.weight": (64, 3, 7, 7),
        "layer2.0.downsample.0.weight": (128, 64, 1, 1),
        "layer4.1.bn2.running_mean": (512,),
        "fc.weight": (1000, 512),
    },
    "vgg11": {"features.0.bias": (64,), "features.25.weight": (512, 512, 3, 3)},
    "vgg16": {"features.41.running_mean": (512,), "classifier.3.weight": (4096, 4096)},
    "vit": {
        "cls_token": (1, 1, 384),
        "pos_embed": (1, 197, 384),
        "patch_embed.proj.weight": (384, 3, 16, 16),
        "blocks.0.attn.qkv.weight": (1152, 384),
        "blocks.11.mlp.fc2.bias": (384,),
        "norm.weight": (384,),
        "head.weight": (1000, 384),
    },
}


@pytest.mark.parametrize("name", NETWORKS)
def test_parameters_and_names_are_those_that_published_weights_have(name):
    with torch.device("meta"):
        network = getattr(imagenet, name)()
    assert sum(p.numel() for p in network.parameters()) == PUBLISHED[name]
    held = network.state_dict()
    assert {key: tuple(held[key].shape) for key in NAMES[name]} == NAMES[name]


@pytest.mark.parametrize("name", NETWORKS)
def test_a_picture_of_224_pixels_gives_one_number_per_class(name):
    network = getattr(imagenet, name)(classes=7, width=0.0625).eval()
    with torch.no_grad():
        assert network(torch.zeros(1, 3, 224, 224)).shape == (1, 7)
