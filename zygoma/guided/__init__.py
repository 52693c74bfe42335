"""The guided session: a protocol in a file, a checklist, calibration, stimuli, self-reports, and a record."""
