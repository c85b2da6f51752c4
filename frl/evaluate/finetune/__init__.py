"""Fine-tuning a network on a task with labels, from any initialisation, in equally many steps."""

from frl.evaluate.finetune.loop import Finetuned, Judged, finetune
from frl.evaluate.finetune.network import Predictor
from frl.evaluate.finetune.progress import Check
from frl.evaluate.finetune.saved import Saved, load, save

__all__ = ["Check", "Finetuned", "Judged", "Predictor", "Saved", "finetune", "load", "save"]
