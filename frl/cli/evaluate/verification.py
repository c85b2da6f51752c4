"""``frl evaluate verification``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import nn

from frl.cli.evaluate.networks import Networks, row_width
from frl.cli.shown import FeaturesConfig
from frl.config.check import require, require_file, require_folder, require_least
from frl.errors import SourceError
from frl.evaluate import VerificationResult, extract_features
from frl.evaluate.alignment import five_points
from frl.evaluate.hog import Hog
from frl.evaluate.published_verification import verification_text
from frl.evaluate.templates import TemplateResult, verify_templates
from frl.evaluate.verification import Mirrored, verify_pairs
from frl.runtime.distributed import pick_device
from frl.runtime.numerics import exact_products
from frl.tasks.layouts.cfp import open_cfp
from frl.tasks.layouts.ijb import Templates, open_ijb
from frl.tasks.layouts.insightface import open_bin
from frl.tasks.layouts.lfw import open_lfw
from frl.tasks.layouts.pairs import FacePairs
from frl.tasks.layouts.point_list import join_points, read_points, unused_rows
from frl.tasks.recognition import Comparison


@dataclass(frozen=True, kw_only=True)
class Verification(FeaturesConfig, Networks):
    """Same person or not: accuracy on pairs, the threshold chosen on the other folds; or templates of IJB."""

    protocol: Literal["lfw", "cfp-ff", "cfp-fp", "bin", "ijb"] = "lfw"
    """lfw: a list in the format of LFW's pairs.txt; cfp-ff, cfp-fp: CFP's frontal with frontal or profile faces; bin: a
    verification set of insightface; ijb: insightface's layout of IJB-B or IJB-C."""
    images: Path
    """lfw: folder of NAME/NAME_0001.jpg (or .png) and so on; cfp: folder of Protocol and Data; bin: the file; ijb:
    folder of loose_crop and meta."""
    pairs: Path | None = None
    """lfw: list of pairs in the format of LFW's pairs.txt."""
    folds: int = 10
    """bin: consecutive folds of the pairs. The other protocols have folds of their own."""
    points: Path | None = None
    """lfw, cfp: CSV of image,x0,y0,x1,y1,... in pixels, 5 points or the 68 of 300-W, by which faces are aligned."""
    align: Literal["auto", "yes", "no"] = "auto"
    """Align faces by five points to insightface's template: those of --points, of CFP's Fiducials, of IJB's list. auto:
    for ijb, and where points are given. Otherwise the central square of each image is shown."""
    flip: bool = False
    """Add the feature of the mirrored image to that of the image."""
    centre: bool = False
    """Subtract the mean feature of the other folds' images."""
    whiten: int = 0
    """Whiten the features to so many principal components of the other folds' images; 0: none."""
    fit_data: Path | None = None
    """A .beton on whose images centring and whitening are fitted instead: other people than those of the benchmark."""
    thresholds: Literal["all", "grid"] = "all"
    """all: the threshold is chosen among all that differ; grid: among insightface's 400 distances."""

    def check(self) -> None:
        """As for all networks; the files are there, and no option is given that the protocol has no use for."""
        super().check()
        if self.protocol == "bin":
            require_file(self.images, "images")
        else:
            require_folder(self.images, "images")
        lists, ijb = self.protocol == "lfw", self.protocol == "ijb"
        require(lists == (self.pairs is not None), "pairs", f"is {'missing' if lists else 'of no use'} with --protocol "
                f"{self.protocol}", "Name LFW's pairs.txt." if lists else "Leave it out.")  # fmt: skip
        if self.pairs is not None:
            require_file(self.pairs, "pairs")
        require_least("folds", self.folds, 2, "The usual number is 10.")
        require(self.folds == 10 or self.protocol == "bin", "folds", f"{self.protocol} has folds of its own",
                "Leave it out.")  # fmt: skip
        require_least("whiten", self.whiten, 0, "0 leaves whitening out; 128 is a usual number.")
        fitted = self.centre or self.whiten > 0
        require(not (ijb and (fitted or self.thresholds == "grid")), "protocol",
                "ijb has no folds to fit anything on", "Leave out --centre, --whiten and --thresholds.")  # fmt: skip
        if self.fit_data is not None:
            require_file(self.fit_data, "fit_data")
            require(fitted, "fit_data", "nothing is fitted", "Add --centre or --whiten 128.")
        if self.points is not None:
            require_file(self.points, "points")
            require(self.protocol not in ("bin", "ijb"), "points", f"{self.protocol} needs none", "Leave it out.")
            require(self.align != "no", "points", "is given, but --align no leaves it unread", "Leave one out.")
        known = self.points is not None or self.protocol in ("cfp-ff", "cfp-fp", "ijb")
        require(self.align != "yes" or known, "align", f"no points are known of the faces of {self.protocol}",
                "They are aligned already." if self.protocol == "bin" else "Give --points.")  # fmt: skip

    def measure(self) -> Mapping[str, VerificationResult | TemplateResult]:
        """The accuracy of each network."""
        faces = open_ijb(self.images) if self.protocol == "ijb" else self._pairs()
        device = pick_device(self.device, local_rank=0)
        exact_products()
        networks = self._shown()
        width = row_width(networks)
        print(self._described(faces), flush=True)
        told = list(faces.remarks)
        _note(told)
        results: dict[str, VerificationResult | TemplateResult] = {}
        for name, network in networks.items():
            results[name] = result = self._judge(network.to(device), faces, device)
            print(f"{name:<{width}} {_row(result)}", flush=True)
            _note(new := [remark for remark in result.remarks if remark not in told])
            told += new
        if missing := [rate for rate, value in result.tar_at_far.items() if value is None]:
            negatives = int((~faces.same).sum())
            print(f"note: no TAR at FAR {', '.join(missing)}: {negatives:,} pairs of different people are too few")
        if text := verification_text(self.protocol):
            print(text)
        return results

    def _shown(self) -> dict[str, nn.Module]:
        """What is measured, with its mirror images if asked for."""
        networks = self.networks()
        if self.baselines:
            networks["HOG"] = Hog(self.normalisation)
        # insightface's protocols add features as they are.
        unit = self.thresholds == "all" and self.protocol != "ijb"
        return {name: Mirrored(one, unit=unit) for name, one in networks.items()} if self.flip else networks

    @property
    def _aligned(self) -> bool:
        return self.align == "yes" or (self.align == "auto" and (self.points is not None or self.protocol == "ijb"))

    def _pairs(self) -> FacePairs:
        """The pairs of the protocol, with points where they are needed."""
        if self.protocol == "bin":
            return open_bin(self.images, self.folds)
        if self.protocol == "lfw":
            faces = open_lfw(self.images, self.pairs or "")
        else:
            fiducials = self._aligned and self.points is None
            faces = open_cfp(self.images, "FF" if self.protocol == "cfp-ff" else "FP", fiducials=fiducials)
        return faces if self.points is None else with_points(faces, self.points)

    def _judge(
        self, network: nn.Module, faces: FacePairs | Templates, device: torch.device
    ) -> VerificationResult | TemplateResult:
        if isinstance(faces, Templates):
            return verify_templates(
                network,
                faces,
                size=self.side,
                augment=self.normalisation,
                batch_size=self.batch_size,
                device=device,
                aligned=self._aligned,
            )
        return verify_pairs(
            network,
            faces,
            size=self.side,
            augment=self.normalisation,
            batch_size=self.batch_size,
            device=device,
            aligned=self._aligned,
            comparison=Comparison(centre=self.centre, whiten=self.whiten, grid=self.thresholds == "grid"),
            fitted_on=self._fitted_on(network, device),
        )

    def _fitted_on(self, network: nn.Module, device: torch.device) -> np.ndarray | None:
        """The features of the images that centring and whitening are fitted on."""
        if self.fit_data is None:
            return None
        from pipelines.whole_images import WholeImages  # takes seconds, which others do not need to spend

        images = WholeImages(
            self.fit_data, size=self.side, batch_size=self.batch_size, device=device, augment=self.normalisation
        )
        try:
            return extract_features(network, images, normalise=False).vectors.cpu().numpy()
        finally:
            images.close()

    def _described(self, faces: FacePairs | Templates) -> str:
        """The protocol and the options in a line."""
        what = f"{len(faces.same):,} pairs of {len(faces.names):,} images"
        if isinstance(faces, FacePairs):
            what += f", {len(faces.folds)} folds"
        options = [
            "aligned by five points" if self._aligned else "central squares" if self.protocol != "bin" else "as stored",
            *(["mirrored too"] if self.flip else []),
            *(["centred"] if self.centre and not self.whiten else []),
            *([f"whitened to {self.whiten} components"] if self.whiten else []),
            *([f"fitted on {self.fit_data.name}"] if self.fit_data else []),
            *(["thresholds of insightface's grid"] if self.thresholds == "grid" else []),
        ]
        return f"{self.protocol}: {what}; {', '.join(options)}"


def with_points(faces: FacePairs, table: Path) -> FacePairs:
    """The faces with the points of a CSV; pairs of images without any are left out, and rows without an image counted.

    Raises:
        SourceError: if the table is broken, fits no image, or has neither 5 nor 68 points.
    """
    known = read_points(table)
    joined = join_points(known, faces.names, table)
    try:
        five = [np.full((5, 2), np.nan) if points is None else five_points(points) for points in joined]
    except ValueError as error:
        raise SourceError(table, f"has {error}", "Give 5 points, or the 68 of 300-W.") from error
    absent = {row: f"{table.name} has no points of it" for row, points in enumerate(joined) if points is None}
    left = faces.without(absent)
    remarks = (*left.remarks, *unused_rows(known, faces.names, table.name))
    return replace(left, points=np.stack(five), remarks=remarks)


def _row(result: VerificationResult | TemplateResult) -> str:
    rates = [f"{rate}: {value:.2%}" for rate, value in result.tar_at_far.items() if value is not None]
    rest = f"ROC AUC {result.auc:.4f}   EER {result.eer:6.2%}   TAR at FAR {', '.join(rates) or '-'}"
    if isinstance(result, TemplateResult):
        return rest
    return f"{result.accuracy:6.2%} +- {result.standard_error:.2%}   {rest}"


def _note(remarks: Iterable[str]) -> None:
    for remark in remarks:
        print(f"note: {remark}", flush=True)
