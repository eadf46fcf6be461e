"""Ways to get the electronic force. Each module is one method; the engine finds them by entry point."""
