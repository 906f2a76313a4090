"""Tests of the files that `chatsvc deploy` prints."""
