"""Presets by name. Each is a whole configuration; every field can be overridden on the command line."""

from __future__ import annotations

from dataclasses import dataclass, replace

from frl.config import AugmentConfig, CropSpec, HealthConfig, ModelConfig, OptimConfig, RunConfig, Stage, SwAVConfig
from frl.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One run of a recipe.

    Attributes:
        data: what it was trained on, and what it was tested on.
        device: that ran it, by name.
        time: that it took.
        result: what came out.
    """

    data: str
    device: str
    time: str
    result: str

    def __str__(self) -> str:
        return f"{self.result} ({self.data}; {self.time} on {self.device})"


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A recipe.

    Attributes:
        summary: a line about it.
        advice: what it is for.
        config: all of its options.
        wants_gpu: whether it is meant for GPUs.
        measured: runs of it; none: not yet measured.
    """

    summary: str
    advice: str
    config: RunConfig
    wants_gpu: bool = True
    measured: tuple[Measured, ...] = ()


# With few prototypes in a space of few dimensions the loss of guessing is out of reach by geometry: a feature cannot
# be equally far from all of them. Small batches otherwise settle there.
#
# A network that has learnt nothing yet tells crops apart by what their images do not share. It unlearns that first, and
# with soft assignments its features shrink meanwhile to two or three dimensions, at a loss of ln K, for hundreds of
# steps. Sharp assignments spare it most of that: the loss fell below ln K after 80 steps instead of 200.
SMALL_SWAV = SwAVConfig(hidden_dim=512, feature_dim=32, prototypes=256, epsilon=0.01)

PRESETS = {
    "vggface2": Preset(
        summary="the paper's: ResNet-50, 400 epochs, batch 1024, peak rate 4.8, as its code was launched",
        advice="As the authors' launch script trains on VGGFace2 (3.3 million faces): 8 GPUs of 128 images, and the "
        "rate that SwAV uses for a batch of 4096, unscaled. The batch is that of all GPUs together; the rate follows "
        "it. For more than 1024 images, or where the loss stays at ln K, take vggface2-scaled.",
        config=RunConfig(optim=OptimConfig(reference_batch=1024)),
    ),
    "vggface2-scaled": Preset(
        summary="the paper's with SwAV's rule for the rate: 4.8 for a batch of 4096, so 1.2 for 1024",
        advice="SwAV's authors scale their rate linearly with the batch. Where the paper's code keeps 4.8 at a quarter "
        "of their batch, this preset takes a quarter of the rate.",
        config=RunConfig(optim=OptimConfig(reference_batch=4096)),
    ),
    "fast": Preset(
        summary="100 epochs of which the first 80 see crops of 160 and 64 pixels: a first answer sooner",
        advice="A quarter of the paper's epochs. Four fifths of them see crops with about half the pixels; the last "
        "see the full size, which the network will meet. Take it to compare data sets or ideas.",
        config=RunConfig(
            augment=AugmentConfig(stages=(Stage(until_epoch=80, sizes=(160, 64)),)),
            optim=OptimConfig(reference_batch=1024, epochs=100),
        ),
    ),
    "small-batch": Preset(
        summary="SwAV's recipe for batch 256: a queue of 3840 features from epoch 15",
        advice="For one GPU or a few. A batch smaller than the number of prototypes cannot be shared out evenly over "
        "them; features of the last 15 batches help out. If the loss stays at ln K, sharpen: --objective.epsilon 0.03.",
        config=RunConfig(
            objective=SwAVConfig(queue_length=3840, queue_from_epoch=15),
            optim=OptimConfig(
                batch_size=256, reference_batch=256, epochs=400, lr=0.6, start_lr=0.6, final_lr=0.0006, warmup_epochs=0
            ),
        ),
    ),
    "cpu": Preset(
        summary="resnet18 on small crops, for machines without a GPU",
        advice="Learns from a few thousand faces on a CPU. For a feeling of the method, and for tests of data; not for "
        "features that compete.",
        wants_gpu=False,
        config=RunConfig(
            augment=AugmentConfig(
                crops=(CropSpec(size=32, count=2, scale=(0.4, 1.0)), CropSpec(size=24, count=2, scale=(0.2, 0.6))),
                blur_sigma=(0.1, 1.0),
            ),
            model=ModelConfig(arch="resnet18"),
            objective=SMALL_SWAV,
            optim=OptimConfig(
                batch_size=64, reference_batch=64, epochs=15, lr=3.0, start_lr=0.5, final_lr=0.0015, warmup_epochs=0.5
            ),
            checkpoint_every_steps=200,
        ),
        measured=(
            Measured(
                data="6,005 faces of LFW and YouTube Faces; 3,000 pairs of LFW, folds 1 to 5, at 32 px",
                device="two cores of an AMD EPYC (first generation)",
                time="16.5 minutes",
                result="verification 61.1 % (AUC 0.659); untrained 59.2 % (0.624); raw pixels 62.2 % (0.669)",
            ),
        ),
    ),
    "quickstart": Preset(
        summary="a few minutes on two cores, for scripts/quickstart.sh",
        advice="What `bash scripts/quickstart.sh` trains on synthetic faces that it draws itself.",
        wants_gpu=False,
        config=RunConfig(
            augment=AugmentConfig(
                crops=(CropSpec(size=32, count=2, scale=(0.5, 1.0)), CropSpec(size=24, count=2, scale=(0.3, 0.7))),
                hue=0.1,
                blur_sigma=(0.1, 0.7),
            ),
            model=ModelConfig(arch="resnet18"),
            objective=replace(SMALL_SWAV, prototypes=128),
            optim=OptimConfig(
                batch_size=64, reference_batch=64, epochs=9, lr=3.0, start_lr=0.5, final_lr=0.003, warmup_epochs=0.5
            ),
            health=HealthConfig(patience_steps=100),
        ),
        measured=(
            Measured(
                data="2,400 synthetic faces; 60 strangers, 12 images of each, at 32 px",
                device="two cores of an AMD EPYC (first generation)",
                time="3.3 minutes",
                result="k-NN identity 15.4 %; untrained 9.7 %; raw pixels 9.6 %",
            ),
        ),
    ),
}


def preset(name: str) -> Preset:
    """The recipe of that name.

    Raises:
        ConfigError: if there is none; the message lists them.
    """
    if name not in PRESETS:
        known = "; ".join(f"{key}: {recipe.summary}" for key, recipe in PRESETS.items())
        raise ConfigError(name, "no such preset", f"Known are {known}.")
    return PRESETS[name]
