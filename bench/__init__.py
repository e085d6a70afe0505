"""How fast and how small is the gateway? One command a question, ratios within one run: see README.md."""
