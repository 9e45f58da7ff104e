"""Study and remove textual backdoors in text classifiers."""

__version__ = "0.1.0"
