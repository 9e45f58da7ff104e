"""Terminal and log: texts shown as they are, output that never ends a run, errors in a sentence."""
