"""Fine-tune a backbone on labels; test on every fifth image: python fine_tune.py resnet.pth faces.beton."""

from pathlib import Path

import torch
import tyro

from frl.config import AugmentConfig, CropSpec, DataConfig
from frl.export import load_backbone
from pipelines.loader import make_loader
from pipelines.whole_images import WholeImages


def main(weights: Path, data: Path, /, epochs: int = 8, size: int = 96, lr: float = 1e-3, device: str = "cpu") -> None:
    torch.manual_seed(0)
    one_crop = AugmentConfig(crops=(CropSpec(size=size, count=1, scale=(0.5, 1.0)),), jitter_p=0.5, blur_p=0)
    train = make_loader(DataConfig(data=(data,)), one_crop, batch_size=32, seed=0, device=device)
    whole = WholeImages(data, size=size, batch_size=32, device=device, augment=one_crop)
    people = torch.from_numpy(whole.labels.copy()).unique().to(device)  # labels need not count from 0
    backbone, _ = load_backbone(weights)
    width = backbone(torch.zeros(1, 3, size, size)).shape[1]
    network = torch.nn.Sequential(backbone, torch.nn.Linear(width, len(people))).to(device)
    optimiser = torch.optim.AdamW(network.parameters(), lr)
    for epoch in range(epochs):
        network.train()
        for batch in train.epoch(epoch):
            ours = batch.samples % 5 != 0
            answers = torch.searchsorted(people, batch.labels[ours])
            loss = torch.nn.functional.cross_entropy(network(batch.views[0][ours]), answers)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        network.eval()
        with torch.inference_mode():
            named = torch.cat([people[network(batch.views[0]).argmax(1)] for batch in whole]).cpu().numpy()
        print(f"epoch {epoch}: loss {loss:.3f}, unseen images named rightly: {(named == whole.labels)[::5].mean():.0%}")


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
