"""Users: who a request is from, and what that lets it do.

| module | holds |
| --- | --- |
| `identity` | what is known of the sender of a request |
| `signatures` | signed tokens: sessions of browsers, and tickets |

Nothing here knows HTTP: `chatsvc.web.identification` reads requests.
"""
