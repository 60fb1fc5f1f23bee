"""The images that are not the services' own, and how images are built where none can be pulled."""
