"""How remote stores are reached."""
