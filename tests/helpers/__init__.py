"""What tests of several rooms share; pytest finds it by its `pythonpath`."""
