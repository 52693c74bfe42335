"""Causal processors: pictures, EMG and temperatures in, measurements out."""
