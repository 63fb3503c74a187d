"""The OpenAI and Anthropic endpoints of a tracker."""
