"""Transport: LSL outlets and inlets, clocks, recordings; and the vocabulary of every floor."""
