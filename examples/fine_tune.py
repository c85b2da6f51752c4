"""Fine-tune a backbone on labels; test on every fifth image: python fine_tune.py resnet.pth faces.beton."""

import torch
import tyro

import frl
from frl.config import AugmentConfig, CropSpec
from pipelines.whole_images import WholeImages


def main(weights: str, data: str, /, epochs: int = 8, size: int = 96, lr: float = 1e-3, device: str = "cpu") -> None:
    torch.manual_seed(0)
    backbone = frl.load(weights, size=size, device=device)
    one_crop = (CropSpec(size=size, count=1, scale=(0.5, 1.0)),)
    augment = AugmentConfig(crops=one_crop, jitter_p=0.5, blur_p=0, mean=backbone.mean, std=backbone.std)
    train = frl.loader(data, augment=augment, batch_size=32, device=device)
    whole = WholeImages(data, size=size, batch_size=32, device=device, augment=augment)
    people = torch.from_numpy(whole.labels.copy()).unique().to(device)  # labels need not count from 0
    width = backbone(torch.zeros(1, 3, size, size, device=device)).shape[1]
    network = torch.nn.Sequential(backbone, torch.nn.Linear(width, len(people))).to(device)
    optimiser = torch.optim.AdamW(network.parameters(), lr)
    for epoch in range(epochs):
        network.train()
        for batch in train:
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
