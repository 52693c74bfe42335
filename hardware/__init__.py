"""Adapters to cameras, amplifiers and thermal cameras, and their simulated twins."""
