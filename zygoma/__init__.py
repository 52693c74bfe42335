"""The program: command line, live engine, analysis and benchmarks."""
