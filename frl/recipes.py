"""The recipes as people read them: what each does, its command, its time and its result. Prints ``docs/recipes.md``."""

from __future__ import annotations

import sys

from frl import console
from frl.config import AugmentConfig, CropSpec, ModelConfig, ObjectiveConfig, OptimConfig, RunConfig
from frl.presets import PRESETS, Preset

UNMEASURED = "not yet measured"


def markdown() -> str:
    """The page ``docs/recipes.md``."""
    parts = [
        "# Recipes",
        "",
        "Written by `python -m frl.recipes > docs/recipes.md`; a test compares the two. Every option can be "
        "overridden: `frl pretrain RECIPE --help` lists them. A figure stands here only if it was measured, with the "
        "device it was measured on.",
        "",
        "| preset | in a word | result |",
        "|:--|:--|:--|",
        *(f"| [`{name}`](#{name}) | {preset.summary} | {_results(preset)} |" for name, preset in PRESETS.items()),
        "",
    ]
    for name, preset in PRESETS.items():
        parts += [f"## {name}", "", preset.advice, "", "```bash", command(name), "```", "", *_table(preset), ""]
    return "\n".join(parts)


def listing() -> str:
    """All recipes for a terminal: ``frl pretrain --list``."""
    parts = []
    for name, preset in PRESETS.items():
        facts = {**facts_of(preset.config), "command": command(name)}
        facts |= {"measured": "; ".join(map(str, preset.measured)) or UNMEASURED}
        lines = [f"  {label:<10} {text}" for label, text in facts.items()]
        parts.append("\n".join([f"{name}: {preset.summary}", *lines]))
    return "\n\n".join(parts)


def command(name: str) -> str:
    """What to type; the script starts a process on every GPU."""
    start = "bash scripts/pretrain_ffcv.sh" if PRESETS[name].wants_gpu else "frl pretrain"
    return f"{start} {name} --data faces.beton --out runs/{name}"


def facts_of(config: RunConfig) -> dict[str, str]:
    """What defines a preset, in words."""
    optim = config.optim
    return {
        "network": network_in_words(config.model),
        "objective": config.objective.name,
        **config.objective.facts(),
        "crops": crops_in_words(config.augment),
        "epochs": f"{optim.epochs} at batch {optim.batch_size}",
        "optimiser": optimiser_in_words(optim),
        "rate": f"{optim.lr * optim.lr_scale:g} after {optim.warmup_epochs:g} epochs of warm-up, cosine to "
        f"{optim.final_lr * optim.lr_scale:g}",
    }


def network_in_words(model: ModelConfig) -> str:
    """Its whole name, and how it begins where that is not as usual."""
    return f"{model.network}, residual branches from zero" if model.zero_init_residual else model.network


def optimiser_in_words(optim: OptimConfig) -> str:
    """Its name and its weight decay, in a line."""
    decay = f"weight decay {optim.weight_decay:g}"
    if optim.final_weight_decay is not None:
        decay += f", cosine to {optim.final_weight_decay:g}"
    name = f"{optim.optimiser} with Nesterov's momentum" if optim.nesterov else optim.optimiser
    return f"{name}, {decay}{', not of biases and norms' if optim.excludes_bias_and_norm else ''}"


def objective_in_words(objective: ObjectiveConfig) -> str:
    """Its name and what it says of itself, in a line."""
    facts = ", ".join(f"{name} {value}" for name, value in objective.facts().items())
    return f"{objective.name}: {facts}" if facts else objective.name


def crops_in_words(augment: AugmentConfig) -> str:
    """Numbers and sizes of the crops, stage by stage, and in which colour options some of them differ."""

    def words(crops: tuple[CropSpec, ...]) -> str:
        return " + ".join(f"{spec.count} x {spec.size} px{own_colour(spec)}" for spec in crops)

    def own_colour(spec: CropSpec) -> str:
        own = augment.colour_of(spec).differences(augment)
        return f" ({', '.join(f'{name} {_value(value)}' for name, value in own.items())})" if own else ""

    stages = [
        f"{words(augment.of_epoch(stage.until_epoch - 1).crops)} before epoch {stage.until_epoch}"
        for stage in augment.stages
    ]
    return ", ".join([*stages, f"then {words(augment.crops)}" if stages else words(augment.crops)])


def _value(value: float | tuple[float, float]) -> str:
    return " to ".join(f"{number:g}" for number in (value if isinstance(value, tuple) else (value,)))


def _results(preset: Preset) -> str:
    return "; ".join(measured.result for measured in preset.measured) or UNMEASURED


def _table(preset: Preset) -> list[str]:
    rows = [f"| {label} | {text} |" for label, text in facts_of(preset.config).items()]
    for measured in preset.measured:
        rows += [
            f"| data | {measured.data} |",
            f"| time | {measured.time} on {measured.device} |",
            f"| result | {measured.result} |",
        ]
    if not preset.measured:
        rows += [f"| time | {UNMEASURED} |", f"| result | {UNMEASURED} |"]
    return ["| | |", "|:--|:--|", *rows]


if __name__ == "__main__":
    sys.exit(console.run("frl.recipes", lambda: print(markdown(), end="")))
