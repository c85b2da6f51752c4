"""From a ``.beton`` to the views of a training step: order, plan, loaders, augmentation."""
