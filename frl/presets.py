"""Presets by name. Each is a whole configuration; every field can be overridden on the command line."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

from frl.config import (
    AugmentConfig,
    BarlowTwinsConfig,
    BYOLConfig,
    ColourConfig,
    CropSpec,
    DINOConfig,
    HealthConfig,
    MoCoConfig,
    MoCoV3Config,
    ModelConfig,
    ObjectiveConfig,
    OptimConfig,
    RunConfig,
    SimCLRConfig,
    SimSiamConfig,
    Stage,
    SupervisedConfig,
    SwAVConfig,
    VICRegConfig,
)
from frl.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One run of a preset.

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
    """A named configuration.

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


MOCO_COLOURS = ColourConfig(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1)
BYOL_COLOURS = replace(MOCO_COLOURS, saturation=0.2)  # of both views, which differ in blur and solarisation


def augmented(colours: ColourConfig, *crops: CropSpec) -> AugmentConfig:
    """Crops with these colours, but for those that have their own."""
    return AugmentConfig(crops=crops, **{field.name: getattr(colours, field.name) for field in fields(ColourConfig)})


def asymmetric(smallest: float) -> AugmentConfig:
    """BYOL's two views of 224 px; ``smallest``: the least share of an image that a view shows."""
    one, other = replace(BYOL_COLOURS, blur_p=1.0), replace(BYOL_COLOURS, blur_p=0.1, solarise_p=0.2)
    views = [CropSpec(size=224, count=1, scale=(smallest, 1.0), colour=colour) for colour in (one, other)]
    return AugmentConfig(crops=tuple(views))


# LARS as the authors of SimCLR use it, and after them those of BYOL and MoCo v3: a rate of 0.3 for every 256 images.
# Their numbers of epochs differ.
LARGE_BATCHES = OptimConfig(
    optimiser="lars",
    batch_size=4096,
    reference_batch=256,
    epochs=300,
    lr=0.3,
    start_lr=0.0,
    final_lr=0.0,
    warmup_epochs=10,
)

# LARS with trust 0.001 that leaves biases and norms out, as the authors of Barlow Twins publish it, and VICReg's after
# them. Barlow Twins' have a rate of their own for these, 0.0048 for every 256 images.
DECORRELATION = OptimConfig(
    optimiser="lars",
    batch_size=2048,
    reference_batch=256,
    epochs=1000,
    lr=0.2,
    start_lr=0.0,
    final_lr=0.0002,
    warmup_epochs=10,
    weight_decay=1e-6,
)

# A cosine from the first step, as MoCo v2's and SimSiam's authors have it.
COSINE_SGD = OptimConfig(
    optimiser="sgd",
    batch_size=256,
    reference_batch=256,
    epochs=200,
    lr=0.03,
    start_lr=0.03,
    final_lr=0.0,
    warmup_epochs=0,
    weight_decay=1e-4,
)

ZERO_INITIALISED = ModelConfig(batch_norm="sync", zero_init_residual=True)


# On a CPU the number of faces seen decides: a quarter of the channels lets a network see ten times as many. Without the
# stem's pooling a crop of 32 pixels is not yet a single one when it reaches the last stage.
NARROW = ModelConfig(arch="resnet18", width=16, stem="no-pool")
SMALL_VIEWS = (CropSpec(size=32, count=2, scale=(0.5, 1.0)),)
SMALL_SGD = OptimConfig(
    optimiser="sgd",
    nesterov=True,
    batch_size=128,
    reference_batch=128,
    epochs=40,
    lr=0.3,
    start_lr=0.03,
    final_lr=0.0,
    warmup_epochs=1,
    weight_decay=1e-4,
)
# SwAV under LARC at batch 64, with the published jitter and the full width, fell to three or four dimensions of 32 on
# real faces, whatever epsilon, for hundreds of steps at a loss of ln K. This optimiser, twice the batch
# and half the jitter leave ln K within an epoch and keep the rank. There may be few prototypes and features or many:
# frozen landmarks came out alike with 128 in 32 dimensions and 512 in 128, and the rank was higher with more.
SMALL_SWAV = SwAVConfig(hidden_dim=512, feature_dim=32, prototypes=128, epsilon=0.03)
# Without negatives little drives images apart at first. Weight decay keeps the weights before a BatchNorm small, so
# that a rate goes on moving them.
DECAYING_SGD = replace(SMALL_SGD, weight_decay=5e-4)
# Of losses whose gradients are ten times those of others: the steps do not depend on it.
SMALL_ADAMW = replace(SMALL_SGD, optimiser="adamw", nesterov=False)


def small(
    name: str,
    objective: ObjectiveConfig,
    *,
    lr: float,
    optim: OptimConfig = SMALL_SGD,
    crops: tuple[CropSpec, ...] = SMALL_VIEWS,
) -> Preset:
    """An objective on small views, for machines without a GPU."""
    return Preset(
        summary=f"{name} with a narrow resnet18 on small crops, for machines without a GPU",
        advice=f"Learns from a few thousand faces on a CPU: for a feeling of {name}, not for features that compete.",
        wants_gpu=False,
        config=RunConfig(
            augment=augmented(replace(MOCO_COLOURS, blur_sigma=(0.1, 1.0)), *crops),
            model=replace(NARROW, batch_norm="local"),
            objective=objective,
            optim=replace(optim, lr=lr, start_lr=0.1 * lr),
            checkpoint_every_steps=200,
        ),
    )


# Aligned faces need little: what tells people apart should stay as it is.
FACES = AugmentConfig(
    crops=(CropSpec(size=224, count=1, scale=(0.7, 1.0), ratio=(0.9, 1.1)),), jitter_p=0.2, grey_p=0.05, blur_p=0.1
)


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
        summary="SwAV's preset for batch 256: a queue of 3840 features from epoch 15",
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
        summary="SwAV with a narrow resnet18 on small crops, for machines without a GPU",
        advice="Learns from a few thousand faces on a CPU. For a feeling of the method, and for tests of data; not for "
        "features that compete.",
        wants_gpu=False,
        config=RunConfig(
            augment=augmented(replace(MOCO_COLOURS, blur_sigma=(0.1, 1.0)), *SMALL_VIEWS),
            model=NARROW,
            objective=replace(SMALL_SWAV, feature_dim=128, prototypes=512),
            optim=SMALL_SGD,
            health=HealthConfig(patience_steps=200),
            checkpoint_every_steps=200,
        ),
        measured=tuple(
            Measured(
                data="10,519 real faces, none of LFW; landmarks of HELEN, frozen and unpooled, at 64 px",
                device="one core of an AMD EPYC (AVX-512)",
                time=time,
                result=result,
            )
            for time, result in (
                (
                    "4.1 processor minutes (`--optim.epochs 20 --seed 0`)",
                    "NME 9.5 %; untrained 14.7 %; raw pixels 11.5 %; HOG 8.1 %",
                ),
                ("2.4 processor minutes (`--optim.epochs 12 --seed 1`)", "NME 10.7 %; SimCLR as long, seed 0: 10.4 %"),
            )
        ),
    ),
    "quickstart": Preset(
        summary="a few minutes on two cores, for scripts/quickstart.sh",
        advice="What `bash scripts/quickstart.sh` trains on synthetic faces that it draws itself.",
        wants_gpu=False,
        config=RunConfig(
            augment=augmented(replace(MOCO_COLOURS, blur_sigma=(0.1, 0.7)), *SMALL_VIEWS),
            model=NARROW,
            objective=SMALL_SWAV,
            optim=replace(SMALL_SGD, epochs=100, final_lr=0.003),
            health=HealthConfig(patience_steps=100),
        ),
        measured=(
            Measured(
                data="2,400 synthetic faces; 60 strangers, 12 images of each, at 32 px",
                device="two cores of an AMD EPYC (AVX-512)",
                time="2.2 minutes",
                result="k-NN identity 43.6 %; untrained 5.8 %; raw pixels 9.6 %",
            ),
        ),
    ),
    "simclr": Preset(
        summary="SimCLR as published: ResNet-50, batch 4096, 1000 epochs",
        advice="Tells every image from the 8190 other views of its batch, so it wants the large batch, over all GPUs.",
        config=RunConfig(
            augment=augmented(ColourConfig(), CropSpec(size=224, count=2, scale=(0.08, 1.0))),
            model=ZERO_INITIALISED,
            objective=SimCLRConfig(),
            optim=replace(LARGE_BATCHES, epochs=1000),
        ),
    ),
    "moco-v2": Preset(
        summary="MoCo v2 as published: ResNet-50, batch 256, 65,536 keys, 200 epochs",
        advice="For small batches: the images to be told apart come from a queue. The paper's code has it as a "
        "baseline. 800 epochs give more.",
        config=RunConfig(
            augment=augmented(MOCO_COLOURS, CropSpec(size=224, count=2, scale=(0.2, 1.0))),
            model=ModelConfig(batch_norm="local"),
            objective=MoCoConfig(),
            optim=COSINE_SGD,
        ),
    ),
    "moco-v3": Preset(
        summary="MoCo v3 as published: ResNet-50, batch 4096, 300 epochs",
        advice="A queue's work done by the batch; with a predictor. At much smaller batches long schedules have "
        "collapsed late: watch the alarm.",
        config=RunConfig(
            augment=asymmetric(0.2),
            model=ZERO_INITIALISED,
            objective=MoCoV3Config(),
            optim=LARGE_BATCHES,
        ),
    ),
    "byol": Preset(
        summary="BYOL as published: ResNet-50, batch 4096, 300 epochs",
        advice="No negatives, so it bears smaller batches than SimCLR. For 1000 epochs: --optim.lr 0.2 "
        "--objective.momentum 0.996 --optim.weight-decay 1.5e-6.",
        config=RunConfig(
            augment=asymmetric(0.08),
            model=ModelConfig(batch_norm="sync"),
            objective=BYOLConfig(),
            optim=LARGE_BATCHES,
        ),
    ),
    "simsiam": Preset(
        summary="SimSiam as published: ResNet-50, batch 512, 100 epochs",
        advice="Neither negatives, nor a queue, nor a teacher: the least memory of the methods that compare two views.",
        config=RunConfig(
            augment=augmented(MOCO_COLOURS, CropSpec(size=224, count=2, scale=(0.2, 1.0))),
            model=ZERO_INITIALISED,
            objective=SimSiamConfig(),
            optim=replace(COSINE_SGD, batch_size=512, epochs=100, lr=0.05, start_lr=0.05),
        ),
    ),
    "simclr-cpu": small("SimCLR", SimCLRConfig(hidden_dim=512, feature_dim=64, temperature=0.2), lr=0.3),
    "moco-v2-cpu": small(
        "MoCo v2",
        # Keys age fast where the encoder moves fast: few, of a teacher that follows soon.
        MoCoConfig(hidden_dim=512, feature_dim=64, head_batch_norm=True, queue_length=512, momentum=0.9, bn_groups=4),
        lr=0.3,
    ),
    "moco-v3-cpu": small(
        "MoCo v3", MoCoV3Config(hidden_dim=512, feature_dim=64, temperature=0.2, momentum=0.9), lr=0.3
    ),
    "byol-cpu": small(
        "BYOL",
        # Without BatchNorm at the end of the projector, features fell to three dimensions from one seed of two.
        # At a rate of 0.3 they fell to four to seven; at 0.1 they keep eight, and bear a teacher that follows sooner.
        BYOLConfig(hidden_dim=512, feature_dim=64, head_batch_norm=True, momentum=0.9),
        lr=0.1,
        optim=DECAYING_SGD,
    ),
    "simsiam-cpu": small("SimSiam", SimSiamConfig(hidden_dim=512, feature_dim=512, predictor_dim=128), lr=0.3),
    "dino": Preset(
        summary="DINO's for ResNet-50: 100 epochs, batch 512, a teacher of 65,536 outputs",
        advice="The setting of the authors' page for ResNet-50 on eight GPUs. For a smaller batch they advise a slower "
        "teacher (--objective.teacher-momentum 0.9995 at 256).",
        config=RunConfig(
            augment=augmented(BYOL_COLOURS, *asymmetric(0.14).crops, CropSpec(size=96, count=8, scale=(0.05, 0.14))),
            model=ModelConfig(batch_norm="sync"),
            objective=DINOConfig(),
            # Plain SGD whose weight decay leaves out biases and norms, as published.
            optim=OptimConfig(
                optimiser="sgd",
                batch_size=512,
                reference_batch=256,
                epochs=100,
                lr=0.03,
                start_lr=0.0,
                final_lr=5e-7,
                warmup_epochs=10,
                weight_decay=1e-4,
                exclude_bias_and_norm="on",
            ),
        ),
    ),
    "barlow": Preset(
        summary="Barlow Twins': 1000 epochs, batch 2048, 8,192 features",
        advice="The setting of the authors' code for ResNet-50, but for the rate of biases and norms: 0.0048 for every "
        "256 images there, and here the 0.2 of the weights, as in VICReg. It needs no negatives and no teacher; its "
        "loss wants many images in a batch, which are those of all GPUs.",
        config=RunConfig(
            augment=asymmetric(0.08),
            model=ZERO_INITIALISED,
            objective=BarlowTwinsConfig(),
            optim=DECORRELATION,
        ),
    ),
    "vicreg": Preset(
        summary="VICReg's: 1000 epochs, batch 2048, 8,192 features",
        advice="The setting of the authors' page for ResNet-50 on 32 GPUs; on eight they train for 100 epochs at "
        "batch 512 with --optim.lr 0.3.",
        config=RunConfig(
            augment=asymmetric(0.08),
            model=ZERO_INITIALISED,
            objective=VICRegConfig(),
            optim=DECORRELATION,
        ),
    ),
    "supervised": Preset(
        summary="identities by ArcFace: ResNet-50, 20 epochs, batch 512",
        advice="The baseline with labels, on VGGFace2's identities: a .beton that was written from a folder for each "
        "person. --objective.loss softmax or cosface; --objective.sample-classes 0.1 for millions of identities.",
        config=RunConfig(
            augment=FACES,
            objective=SupervisedConfig(),
            # Plain SGD, as published.
            optim=OptimConfig(
                optimiser="sgd",
                batch_size=512,
                reference_batch=512,
                epochs=20,
                lr=0.1,
                start_lr=0.0,
                final_lr=0.0001,
                warmup_epochs=1,
                weight_decay=5e-4,
            ),
        ),
    ),
    "dino-cpu": small(
        "DINO",
        # A running centre let all features become alike within a few dozen steps, however fast it followed: it takes
        # away the mean output, but lets a few outputs take most images. Balanced outputs keep features apart from the
        # first step, and bear a teacher that follows soon, which so few steps need.
        DINOConfig(
            hidden_dim=512,
            bottleneck_dim=64,
            outputs=256,
            head_batch_norm=True,
            centering="sinkhorn",
            teacher_temperature=0.02,
            warmup_teacher_temperature=0.02,
            teacher_momentum=0.9,
        ),
        lr=0.1,
    ),
    "barlow-cpu": small(
        "Barlow Twins",
        BarlowTwinsConfig(hidden_dim=512, feature_dim=256, redundancy_weight=0.01),
        lr=0.001,
        optim=SMALL_ADAMW,
    ),
    "vicreg-cpu": small("VICReg", VICRegConfig(hidden_dim=512, feature_dim=256), lr=0.03),
    "supervised-cpu": small(
        "classification by CosFace",
        SupervisedConfig(loss="cosface", embedding_dim=128, scale=32.0, margin=0.2),
        lr=0.1,
        crops=(CropSpec(size=32, count=1, scale=(0.7, 1.0)),),
    ),
}


def preset(name: str) -> Preset:
    """The preset of that name.

    Raises:
        ConfigError: if there is none; the message lists them.
    """
    if name not in PRESETS:
        known = "; ".join(f"{key}: {preset.summary}" for key, preset in PRESETS.items())
        raise ConfigError(name, "no such preset", f"Known are {known}.")
    return PRESETS[name]
