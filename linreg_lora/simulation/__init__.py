"""From draws to means with standard errors."""
