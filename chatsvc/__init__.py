"""chatsvc streams the replies of an AI, character by character, and never loses one."""

__version__ = "0.1.0"
