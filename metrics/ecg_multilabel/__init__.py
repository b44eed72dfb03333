"""Multi-label ECG diagnosis: thresholds, metrics per class and mean, intervals by patient. See README.md."""
