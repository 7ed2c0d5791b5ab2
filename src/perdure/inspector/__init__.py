"""The inspector: a page that shows what a store holds; `perdure.inspector.page` has the answers that carry it."""
