"""Users: identities and API keys, without HTTP."""
