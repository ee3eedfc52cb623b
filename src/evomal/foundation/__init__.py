"""What every room stands on: errors, seeds, files that are complete or absent, plain JSON and YAML, interrupts."""
