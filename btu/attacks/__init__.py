"""Attacks: how a text gets its trigger. One file each, one yaml each in conf/attack/."""
