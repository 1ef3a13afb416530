"""Training of the layout network on drawn pages."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from pero_worker.training.network import input_of
from training.drawn import maps
from training.fonts import surely
from training.pages import PageMaker
from training.sources import Sources

Batch = tuple[Tensor, Tensor, Tensor]
"""uint8 pixels (n, side, side, 3), float16 targets (n, 5, side, side), uint8 places (n, side, side) of heights."""
_CROPS = 4
"""Crops of a page: drawing it is what training waits for."""
_RARE = (2.0, 4.0, 2.0)
"""Weights of the few pixels of baselines, ends and borders against the many beside them."""
_PARTS = (1.0, 1.0, 0.5)
"""What baselines, ends and borders count in the loss."""


class Crops(IterableDataset[tuple[Tensor, Tensor, Tensor]]):
    """Square crops of reduced pages, without end, with letters as high as pero-ocr reduces them to: 5 to 20 pixels."""

    def __init__(self, data: Path, seed: int, side: int, *, training: bool = True) -> None:
        self.data, self.seed, self.side, self.training = data, seed, side, training

    def from_start(self, number: int) -> Crops:
        """Others, for a training that goes on."""
        return Crops(self.data, self.seed + number, self.side, training=self.training)

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        seed = self.seed * 1000 + (worker.id if worker else 0)
        rng, side = np.random.default_rng(seed), self.side
        maker = PageMaker(Sources(self.data, seed, training=self.training), seed)
        while True:
            usual = rng.random() < 0.5
            ascender = rng.uniform(8, 15) if usual else np.exp(rng.uniform(np.log(5), np.log(20)))
            reduction = min(rng.uniform(1.2, 2.4), 42 / (ascender * 1.5))
            size = ascender * 1.45 * reduction
            width, height = (int(side * reduction * rng.uniform(0.9, 2.0)) for _ in range(2))
            page = surely(partial(maker, width, height, size))
            scale = 1 / reduction
            small = cv2.resize(page.image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            for _ in range(_CROPS):
                x, y = (int(rng.integers(0, max(1, extent - side + 1))) for extent in (small.shape[1], small.shape[0]))
                part = small[y : y + side, x : x + side]
                pixels = np.zeros((side, side, 3), np.uint8)  # black beyond the page, as pero-ocr pads
                pixels[: part.shape[0], : part.shape[1]] = part
                target, taught = maps(page, side, scale, (x, y))
                target[2:, part.shape[0] :] = 0
                target[2:, :, part.shape[1] :] = 0
                yield torch.from_numpy(pixels), torch.from_numpy(target.astype(np.float16)), torch.from_numpy(taught)


def batches(dataset: Crops, size: int, workers: int) -> Iterator[Batch]:
    return iter(DataLoader(dataset, batch_size=size, num_workers=workers, prefetch_factor=4 if workers else None))


def loss_of(net: nn.Module, batch: Batch) -> tuple[Tensor, int]:
    """The loss of a batch, and its number of crops."""
    device = next(net.parameters()).device
    pixels, target, taught = (part.to(device, non_blocking=True) for part in batch)
    with torch.autocast(device.type, torch.bfloat16):
        logits = net.logits(input_of(pixels))
    logits, target = logits.float(), target.float()
    place = taught.unsqueeze(1).float()
    heights = F.softplus(logits[:, :2]) * 10
    # In fifths of a pixel's tenth part and weighted most: the accuracy of heights decides the recogniser's.
    height_loss = (F.smooth_l1_loss(heights / 5, target[:, :2] / 5, reduction="none") * place).sum() / (
        2 * place.sum() + 1
    )
    drawn, wanted = logits[:, 2:], target[:, 2:]
    parts = torch.tensor(_PARTS, device=device)
    rare = torch.tensor(_RARE, device=device).view(1, 3, 1, 1)
    pixelwise = F.binary_cross_entropy_with_logits(drawn, wanted, reduction="none", pos_weight=rare)
    chances = drawn.sigmoid()
    both, either = (chances * wanted).sum((0, 2, 3)), (chances + wanted).sum((0, 2, 3))
    dice = 1 - (2 * both + 1) / (either + 1)
    return 4 * height_loss + 4 * (pixelwise.mean((0, 2, 3)) * parts).sum() + 0.3 * (dice * parts).sum(), len(pixels)


class Validation:
    """Crops of pages in faces kept out of training."""

    def __init__(self, data: Path, side: int, batches_: int, size: int) -> None:
        source = batches(Crops(data, 99, side, training=False), size, 0)
        self._batches = [next(source) for _ in range(batches_)]

    @torch.inference_mode()
    def __call__(self, net: nn.Module) -> dict[str, float]:
        """`loss`, and `heights`: the mean error of ascenders in pixels of the map."""
        device = next(net.parameters()).device
        losses, errors = [], []
        for batch in self._batches:
            losses.append(float(loss_of(net, batch)[0]))
            heights = net(input_of(batch[0].to(device)))[0][:, 0].cpu()
            places = batch[2] > 0
            errors.append(float((heights - batch[1][:, 0].float()).abs()[places].mean()) if places.any() else 0.0)
        return {"loss": float(np.mean(losses)), "heights": float(np.mean(errors))}
