"""The card of a published network: where its weights come from, how good they are, and under which terms."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from frl import hub
from frl.beton import Beton
from frl.beton.facts import Facts, gather
from frl.config import ModelConfig, RunConfig
from frl.errors import ConfigError, FrlError
from frl.printable import printable
from frl.recipes import crops_in_words, facts_of
from frl.results import baseline_of

FIGURES = ("accuracy", "standard_error", "auc")
"""The figures of a result without heads that are given to the hub as such."""


class Measured(NamedTuple):
    """A row of a result.

    Attributes:
        network: what was measured.
        kind: of its features, and how much had labels where rows differ in that; empty where there is but one.
        figures: as people read them, by name.
        numbers: those that the hub gets, by name.
    """

    network: str
    kind: str
    figures: Mapping[str, Any]
    numbers: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Result:
    """What ``frl evaluate --out FILE`` measured.

    Attributes:
        name: of the file, without suffix.
        how: what was done with the network, in words.
        rows: of all networks.
    """

    name: str
    how: str
    rows: Sequence[Measured]

    @classmethod
    def read(cls, path: Path) -> Result:
        """The results in a file.

        Raises:
            ConfigError: if it cannot be read, or is none that frl evaluate wrote.
        """
        remedy = "Give what frl evaluate wrote with --out."
        try:
            content = json.loads(path.read_bytes())
        except (OSError, ValueError) as error:
            raise ConfigError(f"--results {path}", f"cannot be read ({error})", remedy) from error
        try:
            has_heads = "rows" in content
            rows = _rows_with_heads(content["rows"]) if has_heads else _rows_without_heads(content)
            tuned = has_heads and content["how"] == "finetune"
        except (KeyError, TypeError, AttributeError):
            rows = []
        if not rows:
            raise ConfigError(f"--results {path}", "holds no figures by network", remedy)
        result = cls(name=path.stem, how="fine-tuned" if tuned else "by a frozen network", rows=rows)
        if not result.trained:
            raise ConfigError(f"--results {path}", "holds baselines alone", "Evaluate the weights, too.")
        return result

    @property
    def trained(self) -> Sequence[Measured]:
        """The rows of the network itself: all but the baselines'."""
        return [row for row in self.rows if baseline_of(row.network) is None]


def _rows_with_heads(rows: Any) -> list[Measured]:
    """Those of a task that heads learn, of which there may be several of a network; scores of parts are left out."""
    several = len({row["labels"] for row in rows}) > 1
    found = []
    for row in rows:
        kind = _joined(row["features"], row["labels"] if several else "")
        scores = {name: score for name, score in row["scores"].items() if "/" not in name}
        numbers = {name: score["mean"] for name, score in scores.items() if score["mean"] is not None}
        found.append(Measured(row["network"], kind, {name: score["text"] for name, score in scores.items()}, numbers))
    return found


def _rows_without_heads(rows: Any) -> list[Measured]:
    """Those of a task on the features alone, by network."""
    return [
        Measured(network, "", figures, {name: value for name in FIGURES if _is_number(value := figures.get(name))})
        for network, figures in rows.items()
    ]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


@dataclass(frozen=True, kw_only=True)
class Card:
    """What the card is made of.

    Attributes:
        address: the repository.
        licence: of the weights, the hub's short name or in words.
        network: whole name of the network.
        mean, std: of the images' channels, as in training; None where the weights do not say.
        run: the run that made the weights, if it is known.
        data: the facts of each file that it saw, by the file's name; None where the file was not at hand.
        probe: accuracy of the run's last online probe, and after which epoch.
        results: what was measured afterwards.
        for_timm: whether timm builds the network by its name.
    """

    address: str
    licence: str
    network: str
    mean: Sequence[float] | None
    std: Sequence[float] | None
    run: RunConfig | None
    data: Mapping[str, Facts | None]
    probe: tuple[float, int] | None
    results: Sequence[Result]
    for_timm: bool

    def text(self) -> str:
        """The card in Markdown, with the hub's metadata before it, in YAML (which JSON is)."""
        parts = [
            *("---", json.dumps(self.metadata(), indent=1), "---", ""),
            *(f"# {self.address}", "", self._summary(), ""),
            *("## Use", "", *self._use(), ""),
            *("## Measured", "", *self._measured(), ""),
            *("## Data", "", *self._data(), ""),
            *("## Recipe", "", *self._recipe(), ""),
            *("## Licence", "", f"{self.licence}. {TERMS}", ""),
        ]
        return "\n".join(parts)

    def metadata(self) -> dict[str, Any]:
        """What the hub reads: licence, library, tags and results."""
        name = self.address.partition("/")[2]
        found: dict[str, Any] = {
            **_licence(self.licence),
            "library_name": "timm" if self.for_timm else "frl",
            "pipeline_tag": "image-feature-extraction",
            "tags": ["face", "feature-extraction", "frl", *([self.run.objective.name] if self.run else [])],
        }
        if self.results:
            found["model-index"] = [{"name": name, "results": [_indexed(result) for result in self.results]}]
        return found

    def _summary(self) -> str:
        taught = f" pre-trained by {self.run.objective.name}" if self.run else ""
        return f"A {self.network}{taught} on faces, without its classifier: images to features."

    def _use(self) -> list[str]:
        model, weights = ModelConfig.of(self.network), hub.WEIGHTS
        lines = ["```python", "from frl.pretrained import load_backbone", ""]
        lines += [f'model, name = load_backbone("{hub.SCHEME}{self.address}")', "```", ""]
        if self.for_timm:
            lines += ["```python", "import timm", ""]
            lines += [f'model = timm.create_model("hf_hub:{self.address}", pretrained=True)', "```", ""]
        if not model.is_timm and model.network == model.arch:
            lines += ["```python", "import torch, torchvision", "from huggingface_hub import hf_hub_download"]
            lines += ["from safetensors.torch import load_file", ""]
            lines += [f"model = torchvision.models.{model.arch}()", "model.fc = torch.nn.Identity()"]
            lines += [f'model.load_state_dict(load_file(hf_hub_download("{self.address}", "{weights}")))', "```", ""]
        if self.mean is None or self.std is None:
            return [*lines, "How images were normalised is not known."]
        mean, std = (", ".join(f"{number:g}" for number in numbers) for numbers in (self.mean, self.std))
        return [*lines, f"Images: RGB in [0, 1], minus ({mean}), divided by ({std})."]

    def _measured(self) -> list[str]:
        lines = []
        for result in self.results:
            figures = list(dict.fromkeys(name for row in result.rows for name in row.figures))
            rows = [
                (_joined(row.network, row.kind), *(_figure(row.figures.get(figure)) for figure in figures))
                for row in result.rows
            ]
            lines += [f"`{printable(result.name)}`:", "", *_table(("network", *figures), rows), ""]
        if self.probe is not None and self.run is not None:
            accuracy, epoch = self.probe
            probe = self.run.knn
            lines.append(
                f"Online probe after epoch {epoch}: {accuracy:.2%} of identities by the {probe.neighbours} nearest "
                f"neighbours, in up to {probe.limit:,} images of {probe.size} pixels."
            )
        return lines or ["Nothing was measured yet."]

    def _data(self) -> list[str]:
        if not self.data:
            return ["Not stated: the weights do not say which images they have seen."]
        lines = []
        for name, facts in self.data.items():
            if facts is None:
                lines += [f"`{printable(name)}` was not at hand when this card was written.", ""]
                continue
            licences = facts.settings.get("licences") or {}
            sources = [
                (source or name, f"{facts.per_source.get(source, 0):,}", licences.get(source, "**not stated**"))
                for source in facts.sources
            ]
            lines += [f"`{printable(name)}`: {facts.samples:,} images, {len(facts.per_identity):,} identities.", ""]
            lines += [*_table(("source", "images", "licence, as stated by the writer"), sources), ""]
            if facts.manifest is not None and facts.manifest.content_sha256:
                lines += [f"Content hash: `{facts.manifest.content_sha256}`.", ""]
        return [*lines, "Faces are personal data: what their licences and the law forbid, these weights do not allow."]

    def _recipe(self) -> list[str]:
        if self.run is None:
            return ["Not stated: the weights were given without their run."]
        facts = {**facts_of(self.run), "crops": crops_in_words(self.run.augment), "seed": f"{self.run.seed}"}
        return [*_table(("", ""), list(facts.items())), "", f"All options: `{hub.CONFIG}`, under `frl`."]


TERMS = "The images have licences of their own, see above."


def facts_of_data(run: RunConfig, *, here: bool = True) -> dict[str, Facts | None]:
    """The facts of the files that a run saw, by their names: nobody else is to see where they lay.

    Args:
        run: names the files.
        here: whether what lies there is what the run saw.
    """
    found: dict[str, Facts | None] = {}
    for path in map(Path, run.data.data):
        name = path.name if path.name not in found else f"{path.name} ({len(found) + 1})"
        try:
            with Beton(path) as beton:
                found[name] = gather(beton) if here else None
        except (FrlError, OSError):
            found[name] = None
    return found


def _licence(text: str) -> dict[str, str]:
    """In the hub's words: one of its short names, or another licence that is named here."""
    if re.fullmatch(r"[a-z0-9][a-z0-9.-]*", text):
        return {"license": text}
    return {"license": "other", "license_name": re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-") or "other"}


def _indexed(result: Result) -> dict[str, Any]:
    """A result as the hub's model index has it."""
    metrics = [
        {"type": name, "name": _joined(name, row.kind), "value": value}
        for row in result.trained
        for name, value in row.numbers.items()
    ]
    return {
        "task": {"type": "image-feature-extraction", "name": f"faces, {result.how}"},
        "dataset": {"type": result.name, "name": result.name},
        "metrics": metrics,
    }


def _joined(*words: str) -> str:
    return ", ".join(filter(None, words))


def _figure(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else "" if value is None else str(value)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return ["| " + " | ".join(map(_cell, line)) + " |" for line in (head, ("---",) * len(head), *rows)]


def _cell(text: str) -> str:
    return printable(" ".join(text.split())).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")
