"""Models: the classifiers that are attacked, and the probe of the first detection rounds."""
