"""The benchmarks: what one streamed character costs. README.md says what is and is not measured."""
