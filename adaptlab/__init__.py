"""Support package of the Model Adaptation Lab."""

__version__ = "0.1.0"
