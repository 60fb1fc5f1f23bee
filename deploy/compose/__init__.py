"""What compose.yaml runs besides the services: one-shots of the demo image."""
