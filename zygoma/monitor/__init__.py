"""The live monitor: a page in the browser that shows an experimenter what the engine sees."""
