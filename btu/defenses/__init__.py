"""Defenses. One file each, one yaml each in conf/defense/."""
