"""The provider's two planes: what the API accepts (`fabric`), and when it takes effect."""
