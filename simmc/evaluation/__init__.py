"""Re-identification metrics and label-free diagnostics."""
