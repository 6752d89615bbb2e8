"""Training of ONNX networks in torch for the cells they will sit in; ONNX in, ONNX out."""

from __future__ import annotations

from nvmc.training.event_log import EventLog
from nvmc.training.methods import METHODS, make_method
from nvmc.training.outcome import Epoch, Judged, Outcome
from nvmc.training.preparation import lacking_classes, make_task
from nvmc.training.settings import AFFINE, Augment, Settings
from nvmc.training.task import Task
from nvmc.training.train import train

__all__ = [
    "AFFINE",
    "METHODS",
    "Augment",
    "Epoch",
    "EventLog",
    "Judged",
    "Outcome",
    "Settings",
    "Task",
    "lacking_classes",
    "make_method",
    "make_task",
    "train",
]
