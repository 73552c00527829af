"""The operator: observe, decide, apply. See docs/concepts.md; entry point in __main__.py."""
