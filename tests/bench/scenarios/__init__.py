"""What can be measured, one module each: `arguments(parser)` and `run(plan)`."""
