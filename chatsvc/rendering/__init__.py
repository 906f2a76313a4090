"""Rendering: a reply's Markdown as HTML, in processes of its own.

    text ─► Renderer ─► FairQueue ─► Worker ══ pipes ══ child ─► markdown ─► HTML
             (cache)    (by client)                      │
                                                  one text at a time

A model can write Markdown that takes seconds, and a hundred times its size. So a rendering has
limits of its own, runs in a process that can be killed, and waits in a queue in which no client
stands in another's way.

| module | holds |
| --- | --- |
| `limits` | what a text may cost, and the account of what is left |
| `tokens`, `html_writer`, `markdown` | pure: Markdown into tokens, and those into safe HTML |
| `inline_parser` | pure: emphasis beside Chinese, Japanese and Korean text |
| `held_back`, `open_end` | pure: the end of a text that still grows: what is shown of it |
| `blocks`, `growing_blocks` | pure: the blocks of such a text as HTML, rendered piece by piece |
| `safe_characters` | pure: what a page may draw behind the last block by itself |
| `block_messages` | what a child is asked about blocks, and what it answers |
| `bare_links`, `task_lists`, `footnotes`, `formulas` | pure: the rules for each |
| `mathml` | pure: TeX into MathML |
| `colours`, `escaping` | pure: code and text into HTML |
| `cleaning` | pure: the allow-list of elements, attributes and values |
| `reply_ids` | pure: the ids in the HTML of one reply |
| `child` | the program that the children run |
| `frames` | the messages on the pipes |
| `worker` | one child, as its parent sees it |
| `fair_queue` | the order in which clients have their turns |
| `renderer` | `Renderer`: puts all that together |

Invariants:
- What is over a limit is shown as plain text: no error for the reader, and nothing is lost.
- Children import `markdown`, `blocks` and what these need, and not the service: they start in a third of a
  second. The service in turn does not import markdown-it, nh3, math-core and
  Pygments.
- A child ends with its stdin, and so with its parent, however that ends.
- Nothing here knows replies or HTTP.
"""
