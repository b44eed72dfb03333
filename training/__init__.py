"""What the training scripts share: arguments, data, loop, checkpoints, evaluation, plots and run records."""
