"""What a network learns from a batch: losses, and what they need to remember."""

from frl.objectives.diagnosis import Diagnosis, Metric, Vitals
from frl.objectives.objective import Objective, Setting, StepOutput, Targets, Views

__all__ = ["Diagnosis", "Metric", "Objective", "Setting", "StepOutput", "Targets", "Views", "Vitals"]
