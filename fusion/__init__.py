"""What the measurements mean: anatomy, rules, valence and micro-expressions."""
