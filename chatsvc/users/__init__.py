"""Users: who a request is from, and what that lets it do.

| module | holds |
| --- | --- |
| `identity` | what is known of the sender of a request |
| `keys` | API keys, and how that of a request is found |
| `keys_file` | the file of keys that `--api-keys-file` names |
| `current_keys` | the keys that are good now, and what ends when they are read again |
| `attempts` | the limit of wrong keys from one address |
| `signatures` | signed tokens: sessions of browsers, and tickets |

Nothing here knows HTTP: `chatsvc.web.identification` reads requests.
"""
