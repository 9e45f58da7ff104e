"""The one way to fit a model, the one way to predict, and what makes both fast."""
