"""The scenarios that can be measured, one module each, with `arguments(parser)` and `run(plan)`."""
