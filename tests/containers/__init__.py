"""The main job on servers in containers, for machines with a container engine."""
