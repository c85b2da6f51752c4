"""Iterate the crops of a .beton: what a training step would see, on any machine the same.

python iterate_crops.py faces.beton     (frl synthesize faces && frl write faces --out faces.beton makes one)
"""

import tyro

import frl
from frl.config import AugmentConfig, CropSpec

AUGMENT = AugmentConfig(
    crops=(CropSpec(size=96, count=2, scale=(0.14, 1.0)), CropSpec(size=48, count=4, scale=(0.05, 0.14))),
)


def main(data: str, /, batch_size: int = 16, device: str = "cpu") -> None:
    """Print the shapes of an epoch's batches, and compare the start of two passes through it."""
    loader = frl.loader(data, augment=AUGMENT, batch_size=batch_size, device=device)
    print(f"{loader.samples} images, {len(loader)} batches an epoch, {loader.sampling}")
    for step, batch in enumerate(loader):  # the first epoch; iterated again, the second
        shapes = ", ".join(str(tuple(view.shape)) for view in batch.views)  # (crops * images, 3, size, size) per size
        print(f"batch {step}: views {shapes}; people {batch.labels.unique().numel()}; first {batch.samples[0]}")
    again = next(loader.epoch(0, start=step))  # from the last batch on, as a run that goes on would
    same = all(before.equal(now) for before, now in zip(batch.views, again.views, strict=True))
    print(f"the last batch once more: {'every pixel the same' if same else 'it differs'}")
    loader.close()


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
