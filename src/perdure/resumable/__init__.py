"""AI answers on durable streams: they survive a refresh, a crash, or a change of tab.

`perdure.resumable.aisdk` is for the Vercel AI SDK, `perdure.resumable.anthropic` for the Anthropic Messages API,
`perdure.resumable.tanstack_ai` for TanStack AI. What an adapter's chat object does is in `chat`; the order of the
layers below is `tokens`, `tail_search`, `claim`, `lease`, then `writer` and `generation` for writing, `replay` and
`following` for reading, `stop`, `watch`, and `responses` for what goes back to the web framework. `kept_histories`
keeps what adapters have folded. `client` is the other side of all this, for programs that are no browser.
"""
