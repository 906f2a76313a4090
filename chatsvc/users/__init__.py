"""Users: who a request is from, and what that lets it do.

| module | holds |
| --- | --- |
| `identity` | what is known of the sender of a request |
| `attempts` | the limit of wrong keys from one address |
| `signatures` | signed tokens: sessions of browsers, and tickets |

Nothing here knows HTTP: `chatsvc.web.identification` reads requests.
"""
