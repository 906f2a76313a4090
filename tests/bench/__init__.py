"""What does one streamed character cost? README.md says what is measured, and what isn't."""
