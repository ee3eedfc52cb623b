"""Odd files and texts against everything that reads them, run by hand: python -m fuzz --minutes 5 loss_file."""
